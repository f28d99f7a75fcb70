"""What operators ask of the files: are they whole, do they fit together, and what takes the space?

In: the two files. Out: problems in words, or bytes by kind. Both only read.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from liveinsight.model.marks import record_mark
from liveinsight.sqlite.database import Database
from liveinsight.sqlite.stream import ROW_RECORDS
from liveinsight.storage.backend import DiskUse

PROBLEMS = 20
"""Of one file: as many are listed."""
MEASURED_BYTES = 256 << 20
"""A store up to this size is measured by kind at each look, which takes a second for each GB."""
KINDS = {
    "counters": "counters", "counter_previews": "counters", "visitors": "visitors", "visitor_previews": "visitors",
    "timelines": "timelines", "dead_letters": "dead letters", "sqlite_autoindex_dead_letters_1": "dead letters",
}  # fmt: skip
"""What the tables of the store are called in reports; others are "other"."""
MARKED = ("counters", "counter_previews", "visitors", "visitor_previews", "dead_letters")
"""Tables whose rows have a mark."""
_DIGIT = "[0-9]"
_MARK = f"{_DIGIT * 13}/shardId-{_DIGIT * 12}/{_DIGIT * 3}*/*"
_PREFIX_LENGTH = len("1790000000000/shardId-000000000000/")


def damage_in(file: Database) -> Iterator[str]:
    """What SQLite finds wrong in a file; it reads all of it.

    Raises:
        LiveInsightError: the file cannot be read, or is of another version.
    """
    with file.reading() as connection:
        for (line,) in connection.execute(f"PRAGMA integrity_check({PROBLEMS})").fetchall():
            if line != "ok":
                yield f"{file.path} is damaged: {line}"


def contradictions(stream: Database, store: Database) -> Iterator[str]:
    """What in the store does not fit the stream: marks that are none, marks and checkpoints beyond its end.

    Records that are put next would have numbers that are counted already, and never be counted.

    Raises:
        LiveInsightError: a file cannot be read, or is of another version.
    """
    # The store first: the stream may only be further when it is read.
    with store.reading() as connection:
        checkpoints = connection.execute(
            "SELECT shard, incarnation, CAST(sequence_number AS INTEGER) FROM checkpoints"
        ).fetchall()
        marks = [
            (table, *row)
            for table in MARKED
            for row in connection.execute(
                f"SELECT substr(mark, 1, {_PREFIX_LENGTH}) AS of, max(mark), sum(mark NOT GLOB ?) FROM {table} "
                "GROUP BY of",
                [_MARK],
            )
        ]
    with stream.reading() as connection:
        incarnation, last = connection.execute("SELECT (SELECT created_at FROM stream), max(id) FROM puts").fetchone()
    if incarnation is None or last is None:
        yield f"{stream.path} holds no stream"
        return
    end = (last + 1) * ROW_RECORDS - 1
    for shard, of, number in checkpoints:
        if of == incarnation and number > end:
            yield f"the checkpoint of {shard} is {number}, beyond the end of the stream, {end}"
    for table, prefix, mark, unreadable in marks:
        if unreadable:
            yield f"{unreadable:,} rows of {table} have a mark that is none, such as {mark!r}"
        elif prefix.startswith(f"{incarnation:013d}/") and mark >= record_mark(prefix, str(end + 1)):
            yield f"{table} has counted up to {mark}, beyond the end of the stream, {end}"


def disk_use(stream: Database, store: Database, *, measure: bool) -> DiskUse:
    """Bytes by kind; with `measure` those of a large store, too, which then is read as a whole.

    Raises:
        LiveInsightError: a file cannot be read, or is of another version.
    """
    with stream.reading() as connection:
        used, free = _used_and_free(connection)
        bytes_ = {"stream": used}
        row = connection.execute("SELECT arrived_at FROM puts ORDER BY id LIMIT 1").fetchone()
    with store.reading() as connection:
        used, more_free = _used_and_free(connection)
        bytes_["store"] = used
        if measure or used <= MEASURED_BYTES:
            bytes_ |= _by_kind(connection)
    bytes_["logs"] = sum(_size(Path(f"{file.path}-wal")) for file in (stream, store))
    bytes_["free pages"] = free + more_free
    folder = stream.path.parent
    return DiskUse(str(folder), shutil.disk_usage(folder).free, bytes_, row[0] if row else None)


def _used_and_free(connection: sqlite3.Connection) -> tuple[int, int]:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size, free * size


def _by_kind(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of the store by kind; empty if the library cannot tell."""
    if not connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'").fetchone():
        return {}
    found = dict.fromkeys([*KINDS.values(), "other"], 0)
    for table, size in connection.execute("SELECT name, pgsize FROM dbstat WHERE aggregate = true"):
        found[KINDS.get(table, "other")] += size
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
