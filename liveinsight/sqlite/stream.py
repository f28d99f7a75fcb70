"""The stream: what each put brought to a shard is one row, compressed, so that a put is one small write.

    sequence number = <number of the batch in its shard> * 1000 + <index of the record in the batch>
    id of the row   = <number of the shard> << 40 | <number of the batch>

Every shard begins with an empty batch, and its last batch is never trimmed: the next number is one more than the last.
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

SHARD_BITS = 40
BATCH_RECORDS = 1_000
"""More than a put has records."""
READ_BYTES = 8 << 20
"""Bytes of compressed records after which a read ends."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode
_INSERT = "((SELECT max(id) FROM batches WHERE id < ?) + 1, ?, ?)"


class Position(NamedTuple):
    """A position in a shard: batches below `batch`, and of that one the records before `record`, are read."""

    shard: int
    batch: int
    record: int

    @classmethod
    def after(cls, shard: int, sequence_number: str) -> Position:
        """The position after a record."""
        batch, index = divmod(int(sequence_number), BATCH_RECORDS)
        return cls(shard, batch, index + 1)

    @property
    def row(self) -> int:
        """Id of the row of the batch."""
        return self.shard << SHARD_BITS | self.batch

    @property
    def text(self) -> str:
        """As an iterator."""
        return f"{self.shard}:{self.batch}:{self.record}"


def _end(shard: int) -> int:
    """Above the ids of a shard's rows."""
    return (shard + 1) << SHARD_BITS


def _batch_number(row: int) -> int:
    return row & (1 << SHARD_BITS) - 1


def _records(batch: int, first: int, arrived_at: int, data: bytes) -> list[Record]:
    """The records of a batch from index `first` on."""
    pairs = _decode(decompress(data))[first:] if data else []
    return [
        Record(str(batch * BATCH_RECORDS + index), key, record, arrived_at)
        for index, (key, record) in enumerate(pairs, first)
    ]


def shard_id_of(number: int) -> str:
    """The shard id that Kinesis would give."""
    return f"shardId-{number:012d}"


@lru_cache(4096)
def shard_of(partition_key: str, shards: int) -> int:
    """Number of the shard that takes a partition key."""
    return zlib.crc32(partition_key.encode()) % shards


class SqliteStream:
    """A `liveinsight.storage.stream.Stream`. Thread safe.

    Args:
        database: the file.
        clock: the time of arrival.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._facts: tuple[int, int] | None = None

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        _, shards = self._created()
        by_shard: dict[int, list[OutRecord]] = {}
        for record in records:
            by_shard.setdefault(shard_of(record.partition_key, shards), []).append(record)
        now = self._clock()
        values: list[object] = []
        for shard, batch in by_shard.items():
            values += _end(shard), now, compress(_encode(batch))
        rows = ", ".join([_INSERT] * len(by_shard))
        with self._database.statement() as connection:
            ids = connection.execute(f"INSERT INTO batches VALUES {rows} RETURNING id", values).fetchall()
        numbers = {shard: _batch_number(row) * BATCH_RECORDS for shard, (row,) in zip(by_shard, ids, strict=True)}
        outcomes = []
        for record in records:
            shard = shard_of(record.partition_key, shards)
            outcomes.append(PutOutcome(shard_id_of(shard), str(numbers[shard]), ""))
            numbers[shard] += 1
        return outcomes

    def incarnation(self) -> int:
        return self._created()[0]

    def shards(self) -> list[Shard]:
        return [Shard(shard_id_of(number), ()) for number in range(self._created()[1])]

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        numbers = {shard.shard_id: number for number, shard in enumerate(self.shards())}
        if shard_id not in numbers:
            raise StreamRefused(f"the stream has no shard {shard_id}")
        number = numbers[shard_id]
        if after is not None:
            return Position.after(number, after).text
        if start is StartAt.TRIM_HORIZON:
            return Position(number, 0, 0).text
        with self._database.reading() as connection:
            (last,) = connection.execute("SELECT max(id) FROM batches WHERE id < ?", [_end(number)]).fetchone()
        return Position(number, _batch_number(last) + 1, 0).text

    def read(self, iterator: str, limit: int) -> RecordBatch:
        position = Position(*map(int, iterator.split(":")))
        records: list[Record] = []
        size = 0
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, arrived_at, records FROM batches WHERE id >= ? AND id < ? ORDER BY id",
                [position.row, _end(position.shard)],
            )
            for id_, arrived_at, data in rows:
                number = _batch_number(id_)
                first = position.record if number == position.batch else 0
                found = _records(number, first, arrived_at, data)
                room = limit - len(records)
                records += found[:room]
                position = Position(position.shard, number, first + room)
                if len(found) > room:
                    break
                position = Position(position.shard, number + 1, 0)
                size += len(data)
                if size >= READ_BYTES:
                    break
            else:
                return RecordBatch(records, position.text, 0)
        return RecordBatch(records, position.text, max(1, self._clock() - records[-1].arrived_at) if records else 1)

    def _created(self) -> tuple[int, int]:
        """Time of creation, and number of shards."""
        if self._facts is None:
            with self._database.reading() as connection:
                self._facts = connection.execute("SELECT created_at, shards FROM stream").fetchone()
            if self._facts is None:
                raise StreamUnavailable(f"{self._database.path} holds no stream: run `liveinsight init`")
        return self._facts


def create_stream(connection: sqlite3.Connection, shards: int, created_at: int) -> bool:
    """Create the stream, if there is none; returns whether it was made. The caller's transaction ends it."""
    if connection.execute("SELECT 1 FROM stream").fetchone():
        return False
    connection.execute("INSERT INTO stream VALUES (?, ?)", [created_at, shards])
    for number in range(shards):
        connection.execute("INSERT INTO batches VALUES (?, ?, ?)", [number << SHARD_BITS, created_at, b""])
    return True
