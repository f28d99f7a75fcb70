"""What the files need while they are used: old records trimmed, expired rows deleted, logs moved into the files.

In: the time, every second. Out: less in the files. Promises: a record is trimmed only when it is older than the
retention, and counted; each deletion is a short turn, so that no request waits for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import takewhile

from liveinsight.sqlite.database import Database
from liveinsight.sqlite.schema import EXPIRING
from liveinsight.sqlite.stream import ROW_RECORDS, SqliteStream
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.store import Store

EVERY_MS = 60_000
"""Time between two looks for what is old. Logs are shortened at each call."""
TRIM_ROWS = 200
"""Rows of the stream that are deleted in one turn."""
TRIM_TURNS = 200
SWEEP_ROWS = 2_000
"""Rows of a table of the store that are looked at in one turn."""
SWEEP_TURNS = 10
DAY_MS = 86_400_000


class Upkeep:
    """To be called by one thread, every second or so.

    Expired rows are found by walking through each table, `SWEEP_TURNS * SWEEP_ROWS` rows a minute, and from the start
    again. An index would find them at once, and would cost each write of a counter more than this walk does.

    Args:
        stream: what is trimmed.
        stream_file: its file.
        store_file: the file of all stores.
        stores: gives a generation's store.
        stream_days: retention of the stream.
    """

    def __init__(
        self,
        stream: SqliteStream,
        stream_file: Database,
        store_file: Database,
        stores: Callable[[int], Store],
        stream_days: int,
    ) -> None:
        self._stream = stream
        self._stream_file = stream_file
        self._store_file = store_file
        self._stores = stores
        self._retention_ms = stream_days * DAY_MS
        self._looked_at: int | None = None
        self._swept: dict[str, tuple[int | str, ...]] = {}
        """By table, the key of the last row that was looked at."""

    def __call__(self, now: int) -> Mapping[str, int]:
        """Do what is due at `now`, epoch ms; returns the rows that were deleted, by table.

        Raises:
            LiveInsightError: a file does not answer, or refuses; the next call tries again.
        """
        for file in (self._stream_file, self._store_file):
            file.shorten_log()
        if self._looked_at is not None and 0 <= now - self._looked_at < EVERY_MS:
            return {}
        deleted = Counter(puts=self._trim(now - self._retention_ms))
        for table in EXPIRING:
            deleted[table] = self._sweep(table, now // 1000)
        self._looked_at = now
        return +deleted

    def _trim(self, horizon: int) -> int:
        """Delete rows of the stream that arrived before `horizon`, from the oldest on."""
        trimmed = 0
        for _ in range(TRIM_TURNS):
            with self._stream_file.reading() as connection:
                rows = connection.execute("SELECT id, arrived_at FROM puts ORDER BY id LIMIT ?", [TRIM_ROWS + 1])
                # The newest row stays: ids go on from it.
                old = [id for id, _ in takewhile(lambda row: row[1] < horizon, rows.fetchall()[:-1])]
            last = self._counted(old[-1]) if old else 0
            with self._stream_file.writing() as connection:
                deleted = connection.execute("DELETE FROM puts WHERE id <= ?", [last]).rowcount
            trimmed += deleted
            if deleted < TRIM_ROWS:
                break
        return trimmed

    def _counted(self, last: int) -> int:
        """The last row up to `last` such that all records so far are counted in the newest generation.

        Checkpoints decide. What a watermark says depends on clocks, and these rows are the only copy.
        """
        incarnation = self._stream.incarnation()
        checkpoints = self._stores(load_pointer(self._stores(FIRST)).newest).load_checkpoints()
        for shard in self._stream.shards():
            point = checkpoints.get(shard.shard_id)
            after = point.sequence_number if point and point.incarnation == incarnation else None
            if after is None or int(after) // ROW_RECORDS <= last:
                waiting = self._stream.next_row(shard.shard_id, after, last)
                last = last if waiting is None else waiting - 1
        return last

    def _sweep(self, table: str, now: int) -> int:
        """Delete expired rows among the next ones of a table; `now` is in epoch seconds."""
        deleted = 0
        for _ in range(SWEEP_TURNS):
            with self._store_file.writing() as connection:
                pragma = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", [table])
                names = [name for (name,) in pragma]
                key, marks = ", ".join(names), ", ".join("?" * len(names))
                begin = self._swept.get(table)
                rows = f"({key}) > ({marks})" if begin else "true"
                end = connection.execute(
                    f"SELECT {key} FROM {table} WHERE {rows} ORDER BY {key} LIMIT 1 OFFSET {SWEEP_ROWS - 1}",
                    begin or (),
                ).fetchone()
                if end:
                    rows += f" AND ({key}) <= ({marks})"
                deleted += connection.execute(
                    f"DELETE FROM {table} WHERE {rows} AND expires_at BETWEEN 1 AND ?",
                    [*(begin or ()), *(end or ()), now],
                ).rowcount
            if end is None:
                self._swept.pop(table, None)
                break
            self._swept[table] = end
        return deleted
