"""Counters, their previews and watermarks.

In: counter items of one shard. Out: the same, or rows of all shards for a query. `liveinsight.storage.store` says what
each method promises.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from liveinsight.counting.counters import CounterItem, decode_counter, split_totals
from liveinsight.counting.keys import CounterKey, dimension_key
from liveinsight.counting.layout import QUARTERS_PER_ITEM, storage_item
from liveinsight.counting.previews import decode_rows, on_top
from liveinsight.model.marks import NO_MARK
from liveinsight.sqlite.database import GenerationTables
from liveinsight.storage.store import CounterWrite, Read, Watermark, Written
from liveinsight.storage.watermarks import supersedes

_KEY = "generation = ? AND kind = ? AND site = ? AND dimension = ? AND bucket = ? AND value = ? AND shard = ?"
_SELECT = f"SELECT data, mark FROM counters WHERE {_KEY}"
_INSERT = "INSERT OR IGNORE INTO counters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = f"UPDATE counters SET mark = ?, data = ?, expires_at = ? WHERE {_KEY} AND mark = ?"
_WATERMARK = (
    "SELECT shard, as_of, closed, incarnation, fresh_as_of, preview_as_of, previewed FROM watermarks "
    "WHERE generation = ?"
)


class CounterTables(GenerationTables):
    """The methods of a `Store` that count, query counters, and publish watermarks. Thread safe."""

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        found = {}
        with self._database.reading() as connection:
            for key in keys:
                row = connection.execute(_SELECT, self._counter_key(key, shard)).fetchone()
                if row:
                    found[key] = decode_counter(*row)
        return found

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        written = Written()
        with self._database.writing() as connection:
            for index, write in enumerate(writes):
                key, body = self._counter_key(write.key, shard), (write.mark, write.data, write.expires_at)
                if write.expected == NO_MARK:
                    done = connection.execute(_INSERT, (*key, *body))
                else:
                    done = connection.execute(_UPDATE, (*body, *key, write.expected))
                if not done.rowcount:
                    written.refused.append(index)
        return written

    def _counter_key(self, key: CounterKey, shard: str) -> tuple[int, str, str, str, int, str, str]:
        return self._generation, key.kind, key.site, key.dimension, key.bucket, key.value, shard

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        first_bucket = first_quarter - first_quarter % QUARTERS_PER_ITEM
        read = self._buckets("totals", site, "", first_bucket, last_quarter)
        return Read(split_totals(read.rows, first_quarter, last_quarter), read.items_read)

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        return self._buckets("minute", site, dimension, first_minute, last_minute)

    def _buckets(self, kind: str, site: str, dimension: str, first: int, last: int) -> Read[tuple[int, CounterItem]]:
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT bucket, data, mark FROM counters WHERE generation = ? AND kind = ? AND site = ? "
                "AND dimension = ? AND bucket BETWEEN ? AND ?",
                [self._generation, kind, site, dimension, first, last],
            ).fetchall()
        return Read([(bucket, decode_counter(data, mark)) for bucket, data, mark in found], len(found))

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        host, name = storage_item(dimension_key(site, day, dimension, ""))
        with self._database.reading() as connection:
            items = connection.execute(
                "SELECT shard, value, data, mark FROM counters WHERE generation = ? AND kind = 'dimension' "
                "AND site = ? AND dimension = ? AND bucket = ?",
                [self._generation, site, host.dimension, day],
            ).fetchall()
            previews = connection.execute(
                "SELECT shard, data FROM counter_previews WHERE generation = ? AND site = ? AND day = ? "
                "AND dimension = ?",
                [self._generation, site, day, host.dimension],
            ).fetchall()
        rows = [(value, decode_counter(data, mark)) for _, value, data, mark in items]
        partial = False
        for shard, data in previews:
            marks = {value: mark for of, value, _, mark in items if of == shard}
            shown, in_part = on_top(decode_rows(data), marks)
            rows.extend(shown)
            partial |= in_part
        if name:
            rows = [(value, item.embedded[name]) for value, item in rows if name in item.embedded]
        return Read(rows, len(items) + len(previews), partial)

    def counted_days(self) -> set[tuple[str, int]]:
        with self._database.reading() as connection:
            return set(
                connection.execute(
                    "SELECT DISTINCT site, bucket FROM counters WHERE generation = ? AND kind = 'dimension'",
                    [self._generation],
                )
            )

    def write_watermark(self, watermark: Watermark) -> None:
        with self._database.writing() as connection:
            row = connection.execute(f"{_WATERMARK} AND shard = ?", [self._generation, watermark.shard_id]).fetchone()
            if row is None or supersedes(watermark, _watermark(row)):
                *times, previewed = watermark
                sites = None if previewed is None else json.dumps(previewed)
                connection.execute(
                    "INSERT OR REPLACE INTO watermarks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [self._generation, *times, sites],
                )

    def read_watermarks(self) -> Read[Watermark]:
        with self._database.reading() as connection:
            rows = [_watermark(row) for row in connection.execute(_WATERMARK, [self._generation])]
        return Read(rows, len(rows))


def _watermark(row: tuple[str, int, int, int, int, int, str | None]) -> Watermark:
    shard, as_of, closed, incarnation, fresh_as_of, preview_as_of, sites = row
    previewed = None if sites is None else tuple(json.loads(sites))
    return Watermark(shard, as_of, bool(closed), incarnation, fresh_as_of, preview_as_of, previewed)
