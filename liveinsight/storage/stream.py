"""The stream, as a protocol with two implementations: `MemoryStream` and `KinesisStream`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

MAX_RECORDS_PER_PUT = 500
"""Limit of one PutRecords call."""
MAX_BYTES_PER_PUT = 5 * 1024 * 1024
"""Limit of one PutRecords call, partition keys included."""
MAX_RECORD_BYTES = 256 * 1024
"""Our own limit per record: well under Kinesis', so that one record never dominates a read."""


class OutRecord(NamedTuple):
    """A record to put."""

    partition_key: str
    data: bytes


class PutOutcome(NamedTuple):
    """Where a record went: `sequence_number` is empty when it was not taken, and `error` says why."""

    shard_id: str
    sequence_number: str
    error: str


class Record(NamedTuple):
    """A record as the stream delivers it; `arrived_at` is epoch ms by the stream's clock."""

    sequence_number: str
    partition_key: str
    data: bytes
    arrived_at: int


class Shard(NamedTuple):
    """A shard and where it came from."""

    shard_id: str
    parents: tuple[str, ...]


class StartAt(Enum):
    """Where to begin reading a shard that has no checkpoint."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"


class RecordBatch(NamedTuple):
    """Answer of one read. `next_iterator` is None when the shard is closed and was read to its end."""

    records: list[Record]
    next_iterator: str | None
    millis_behind: int


class Sink(Protocol):
    """Where records are put."""

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        """One PutRecords call: at most 500 records and 5 MB. Some may be taken and others not.

        Raises:
            StreamUnavailable: perhaps some were taken, perhaps none.
            StreamRefused: none was taken, and none will be.
        """


class Stream(Sink, Protocol):
    """What ingest and the worker need of Kinesis.

    All methods may raise `StreamUnavailable` and `StreamRefused`; reads may raise `IteratorExpired`.
    """

    def incarnation(self) -> int:
        """Creation time of the stream in epoch ms: part of every mark."""

    def shards(self) -> list[Shard]:
        """All shards that still hold records, parents before children."""

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        """An iterator after a sequence number, or (`after` is None) at `start`."""

    def read(self, iterator: str, limit: int) -> RecordBatch:
        """Up to `limit` records; an empty answer does not mean the end."""
