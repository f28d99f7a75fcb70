"""The stream: what each put brought is one row, compressed, so that a put is one small write.

    sequence number = <id of the row> * 1000 + <index of the record in the row>

A shard is the records of a row whose partition keys belong to it: each shard reads all rows, which costs less than a
row a shard would cost each put. The newest row is never trimmed: ids go on from it.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from liveinsight.counting.compression import compress, decompress
from liveinsight.model.clock import Clock
from liveinsight.model.errors import StreamRefused, StreamUnavailable
from liveinsight.sqlite.database import Database
from liveinsight.storage.stream import OutRecord, PutOutcome, Record, RecordBatch, Shard, StartAt

ROW_RECORDS = 1_000
"""More than a put has records."""
READ_BYTES = 8 << 20
"""Bytes of compressed records after which a read ends."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode


class _Facts(NamedTuple):
    """What was decided when the stream was created."""

    created_at: int
    shards: int


class _Position(NamedTuple):
    """Where a shard is read next. Its text is the iterator."""

    shard: int
    row: int
    record: int

    @classmethod
    def parse(cls, iterator: str) -> _Position:
        return cls(*map(int, iterator.split(":")))

    def __str__(self) -> str:
        return f"{self.shard}:{self.row}:{self.record}"


def shard_id_of(number: int) -> str:
    """A shard id as Kinesis gives them."""
    return f"shardId-{number:012d}"


@lru_cache(4096)
def shard_of(partition_key: str, shards: int) -> int:
    """Number of the shard to which a partition key belongs."""
    return zlib.crc32(partition_key.encode()) % shards


def create_stream(connection: sqlite3.Connection, shards: int, created_at: int) -> bool:
    """Create the stream, if there is none, in the caller's transaction; returns whether it was created."""
    if connection.execute("SELECT 1 FROM stream").fetchone():
        return False
    connection.execute("INSERT INTO stream VALUES (?, ?)", [created_at, shards])
    connection.execute("INSERT INTO puts VALUES (1, ?, ?)", [created_at, compress(_encode([]))])
    return True


class SqliteStream:
    """A `liveinsight.storage.stream.Stream`. Thread safe.

    Args:
        database: the file.
        clock: the time of arrival.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: _Facts | None = None

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        shards = self._facts().shards
        data = compress(_encode(records))
        with self._database.statement() as connection:
            row = connection.execute(
                "INSERT INTO puts (arrived_at, records) VALUES (?, ?)", [self._clock(), data]
            ).lastrowid
        assert row is not None
        return [
            PutOutcome(shard_id_of(shard_of(record.partition_key, shards)), str(number), "")
            for number, record in enumerate(records, row * ROW_RECORDS)
        ]

    def incarnation(self) -> int:
        return self._facts().created_at

    def shards(self) -> list[Shard]:
        return [Shard(shard_id_of(number), ()) for number in range(self._facts().shards)]

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        numbers = {shard.shard_id: number for number, shard in enumerate(self.shards())}
        if shard_id not in numbers:
            raise StreamRefused(f"the stream has no shard {shard_id}")
        shard = numbers[shard_id]
        if after is None and start is StartAt.TRIM_HORIZON:
            return str(_Position(shard, 0, 0))
        with self._database.reading() as connection:
            (last,) = connection.execute("SELECT max(id) FROM puts").fetchone()
        if after is not None:
            row, record = divmod(int(after), ROW_RECORDS)
            if row > last:
                raise StreamRefused(
                    f"{self._database.path} ends before what was read from it: it has lost records, such as those of "
                    "its -wal file. See `liveinsight check`, and restore a backup with `liveinsight restore`"
                )
            return str(_Position(shard, row, record + 1))
        return str(_Position(shard, last + 1, 0))

    def read(self, iterator: str, limit: int) -> RecordBatch:
        at = _Position.parse(iterator)
        shards = self._facts().shards
        records: list[Record] = []
        arrived_at = size = 0
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id, arrived_at, records FROM puts WHERE id >= ? ORDER BY id", [at.row])
            for row, arrived_at, data in rows:
                first = at.record if row == at.row else 0
                for index, (key, record) in enumerate(_decode(decompress(data))[first:], first):
                    if shard_of(key, shards) == at.shard:
                        records.append(Record(str(row * ROW_RECORDS + index), key, record, arrived_at))
                    if len(records) == limit:
                        break
                else:
                    at = at._replace(row=row + 1, record=0)
                    size += len(data)
                    if size < READ_BYTES:
                        continue
                    break
                at = at._replace(row=row, record=index + 1)
                break
            else:
                return RecordBatch(records, str(at), 0)
        return RecordBatch(records, str(at), max(1, self._clock() - arrived_at))

    def next_row(self, shard_id: str, after: str | None, last: int) -> int | None:
        """The first row up to `last` that has a record of the shard after a sequence number (None: any record)."""
        iterator: str | None = self.iterator(shard_id, after=after, start=StartAt.TRIM_HORIZON)
        while iterator and _Position.parse(iterator).row <= last:
            batch = self.read(iterator, 1)
            if batch.records:
                row = int(batch.records[0].sequence_number) // ROW_RECORDS
                return row if row <= last else None
            if not batch.millis_behind:
                return None
            iterator = batch.next_iterator
        return None

    def _facts(self) -> _Facts:
        if self._known is None:
            with self._database.reading() as connection:
                found = connection.execute("SELECT created_at, shards FROM stream").fetchone()
            if found is None:
                raise StreamUnavailable(f"{self._database.path} holds no stream: run `liveinsight init`")
            self._known = _Facts(*found)
        return self._known
