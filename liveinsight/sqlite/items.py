"""Items as they are stored, page by page in the order of their keys, for a copy to another backend.

`liveinsight.storage.items` says what each method promises.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from liveinsight.counting.keys import CounterKey
from liveinsight.sqlite.database import GenerationTables
from liveinsight.sqlite.visitors import SIGN
from liveinsight.storage.items import PAGE_ITEMS, Page, Salt, StoredChunk, StoredCounter, StoredItem, StoredVisitor

Row = tuple[str | int | bytes, ...]


class _Table(NamedTuple):
    """A table: the columns of its key after the generation, and the others, in their order."""

    name: str
    key: tuple[str, ...]
    body: tuple[str, ...]


_TABLES = {
    StoredCounter: _Table(
        "counters", ("kind", "site", "dimension", "bucket", "value", "shard"), ("mark", "data", "expires_at")
    ),
    StoredVisitor: _Table("visitors", ("site", "visitor"), ("mark", "data", "expires_at")),
    StoredChunk: _Table(
        "timelines", ("site", "session", "first_mark", "last_mark"), ("visitor", "data", "expires_at")
    ),
}  # fmt: skip
_KINDS = tuple(_TABLES)


class SqliteItems(GenerationTables):
    """A `liveinsight.storage.items.ItemStore`. Thread safe."""

    def page(self, after: str = "") -> Page | None:
        number, *key = json.loads(after) if after else [0]
        if number == len(_KINDS):
            return None
        kind, table = _KINDS[number], _TABLES[_KINDS[number]]
        names, marks = ", ".join(table.key), ", ".join("?" * len(table.key))
        beyond = f"AND ({names}) > ({marks}) " if key else ""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {names}, {', '.join(table.body)} FROM {table.name} WHERE generation = ? {beyond}"
                f"ORDER BY {names} LIMIT {PAGE_ITEMS}",
                [self._generation, *key],
            ).fetchall()
        position = [number, *rows[-1][: len(table.key)]] if len(rows) == PAGE_ITEMS else [number + 1]
        return Page([_item(kind, row) for row in rows], json.dumps(position))

    def put_items(self, items: Sequence[StoredItem]) -> None:
        with self._database.writing() as connection:
            for item in items:
                table, row = _TABLES[type(item)], _row(item)
                marks = ", ".join("?" * (len(row) + 1))
                connection.execute(f"INSERT OR REPLACE INTO {table.name} VALUES ({marks})", (self._generation, *row))

    def differing(self, items: Sequence[StoredItem]) -> list[StoredItem]:
        with self._database.reading() as connection:
            found = []
            for item in items:
                table, row = _TABLES[type(item)], _row(item)
                names = " AND ".join(f"{name} = ?" for name in table.key)
                stored = connection.execute(
                    f"SELECT {', '.join(table.body)} FROM {table.name} WHERE generation = ? AND {names}",
                    [self._generation, *row[: len(table.key)]],
                ).fetchone()
                if stored != row[len(table.key) :]:
                    found.append(item)
        return found

    def salts(self, days: Sequence[int]) -> list[Salt]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT day, salt, expires_at FROM salts WHERE generation = ?", [self._generation]
            )
            return [Salt(*row) for row in rows if row[0] in days]


def _row(item: StoredItem) -> Row:
    """The columns of an item's table after the generation."""
    match item:
        case StoredCounter(shard_id, key, mark, data, expires_at):
            return key.kind, key.site, key.dimension, key.bucket, key.value, shard_id, mark, data, expires_at
        case StoredVisitor(site, visitor, mark, data, expires_at):
            return site, visitor - SIGN, mark, data, expires_at
        case StoredChunk(site, session_id, first_mark, last_mark, visitor, data, expires_at):
            return site, session_id, first_mark, last_mark, visitor - SIGN, data, expires_at


def _item(kind: type[StoredItem], row: tuple) -> StoredItem:  # type: ignore[type-arg]
    """Inverse of `_row`."""
    if kind is StoredCounter:
        of, site, dimension, bucket, value, shard_id, mark, data, expires_at = row
        return StoredCounter(shard_id, CounterKey(of, site, bucket, dimension, value), mark, data, expires_at)
    if kind is StoredVisitor:
        site, visitor, mark, data, expires_at = row
        return StoredVisitor(site, visitor + SIGN, mark, data, expires_at)
    site, session_id, first_mark, last_mark, visitor, data, expires_at = row
    return StoredChunk(site, session_id, first_mark, last_mark, visitor + SIGN, data, expires_at)
