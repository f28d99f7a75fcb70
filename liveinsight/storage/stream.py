"""The stream as a protocol.

`KinesisStream`, `SqliteStream` and, for tests, `MemoryStream` implement it and pass one contract suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

MAX_RECORDS_PER_PUT = 500
"""Limit of one PutRecords call."""
MAX_BYTES_PER_PUT = 5 * 1024 * 1024
"""Limit of one PutRecords call, partition keys included."""
MAX_RECORD_BYTES = 256 * 1024
"""Limit per record. Kinesis allows more, but one record should not dominate a read."""


class OutRecord(NamedTuple):
    """A record to put."""

    partition_key: str
    data: bytes


class PutOutcome(NamedTuple):
    """Where a record was put. If it was refused, `sequence_number` is empty and `error` says why."""

    shard_id: str
    sequence_number: str
    error: str


class Record(NamedTuple):
    """A record of the stream. `arrived_at` is epoch ms by the clock of the stream."""

    sequence_number: str
    partition_key: str
    data: bytes
    arrived_at: int


class Shard(NamedTuple):
    """A shard and the shards it was made from."""

    shard_id: str
    parents: tuple[str, ...]


def shard_tag(shard_id: str) -> str:
    """A shard id without the prefix that all share."""
    return shard_id.removeprefix("shardId-").lstrip("0") or "0"


def shard_of_tag(tag: str) -> str:
    """Inverse of `shard_tag`."""
    return f"shardId-{int(tag):012d}"


class StartAt(Enum):
    """Where to begin reading a shard that has no checkpoint."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"


class RecordBatch(NamedTuple):
    """The answer of a read. `next_iterator` is None if the shard is closed and read to its end."""

    records: list[Record]
    next_iterator: str | None
    millis_behind: int


class Sink(Protocol):
    """Where records are put."""

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        """Put at most 500 records and 5 MB in one call. Each record may be taken or refused.

        Raises:
            StreamUnavailable: some records may have been taken.
            StreamRefused: no record was taken, and a retry is useless.
        """


class Stream(Sink, Protocol):
    """The part of Kinesis that ingest and the worker use.

    All methods may raise `StreamUnavailable` and `StreamRefused`; reads may raise `IteratorExpired`.
    """

    def incarnation(self) -> int:
        """Creation time of the stream, epoch ms. It is part of every mark."""

    def shards(self) -> list[Shard]:
        """All shards that still hold records, parents before children."""

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        """An iterator after a sequence number, or (`after` is None) at `start`."""

    def read(self, iterator: str, limit: int) -> RecordBatch:
        """Up to `limit` records. An empty answer does not mean the end of the shard."""
