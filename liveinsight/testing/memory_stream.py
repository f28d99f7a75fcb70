"""A stream in memory, held to the same contract suite as Kinesis (tests/liveinsight/storage)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from liveinsight.model.clock import Clock
from liveinsight.model.errors import IteratorExpired, StreamUnavailable
from liveinsight.storage.stream import OutRecord, PutOutcome, Record, RecordBatch, Shard, StartAt

HASH_SPACE = 1 << 128


@dataclass
class _MemoryShard:
    first_hash: int
    last_hash: int
    parents: tuple[str, ...]
    records: list[Record] = field(default_factory=list)
    closed: bool = False


class MemoryStream:
    """A `Stream` in one process, with hash-key ranges, splits and merges. Thread safe.

    Sequence numbers restart at 1 in every shard: the worst case for marks, as no promise forbids it.
    """

    def __init__(self, clock: Clock, shards: int = 1, created_at: int | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.created_at = clock() if created_at is None else created_at
        """Which incarnation of the stream it is."""
        self._shards: dict[str, _MemoryShard] = {}
        self.refuse_puts = 0
        """How many of the next records to refuse, as a throttled shard does."""
        self.down = False
        """Whether every call fails."""
        width = HASH_SPACE // shards
        for index in range(shards):
            last = HASH_SPACE - 1 if index == shards - 1 else (index + 1) * width - 1
            self._add(index * width, last, ())

    def _add(self, first: int, last: int, parents: tuple[str, ...]) -> str:
        shard_id = f"shardId-{len(self._shards):012d}"
        self._shards[shard_id] = _MemoryShard(first, last, parents)
        return shard_id

    def records(self, shard_id: str = "") -> list[Record]:
        """The records of a shard in order, or of all shards, one shard after the other."""
        with self._lock:
            shards = [self._shards[shard_id]] if shard_id else self._shards.values()
            return [record for shard in shards for record in shard.records]

    def keep(self, shard_id: str, records: Sequence[Record]) -> None:
        """Replace the records of a shard: what retention has left of them, or what has become of them."""
        with self._lock:
            self._shards[shard_id].records[:] = records

    def split(self, shard_id: str) -> tuple[str, str]:
        """Close a shard and divide its hash range in two."""
        with self._lock:
            parent = self._shards[shard_id]
            parent.closed = True
            middle = (parent.first_hash + parent.last_hash) // 2
            low = self._add(parent.first_hash, middle, (shard_id,))
            return low, self._add(middle + 1, parent.last_hash, (shard_id,))

    def merge(self, low_id: str, high_id: str) -> str:
        """Close two adjacent shards and join their hash ranges."""
        with self._lock:
            low, high = self._shards[low_id], self._shards[high_id]
            low.closed = high.closed = True
            return self._add(low.first_hash, high.last_hash, (low_id, high_id))

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        with self._lock:
            self._check_up()
            return [self._put_one(record) for record in records]

    def _put_one(self, record: OutRecord) -> PutOutcome:
        if self.refuse_puts:
            self.refuse_puts -= 1
            return PutOutcome("", "", "ProvisionedThroughputExceededException")
        hashed = int(hashlib.md5(record.partition_key.encode()).hexdigest(), 16)
        for shard_id, shard in self._shards.items():
            if not shard.closed and shard.first_hash <= hashed <= shard.last_hash:
                number = str(len(shard.records) + 1)
                shard.records.append(Record(number, record.partition_key, record.data, self._clock()))
                return PutOutcome(shard_id, number, "")
        raise StreamUnavailable("no open shard covers the hash key")

    def incarnation(self) -> int:
        return self.created_at

    def shards(self) -> list[Shard]:
        with self._lock:
            self._check_up()
            return [Shard(shard_id, shard.parents) for shard_id, shard in self._shards.items()]

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        with self._lock:
            self._check_up()
            if after is not None:
                return f"{shard_id}:{int(after)}"
            position = 0 if start is StartAt.TRIM_HORIZON else len(self._shards[shard_id].records)
            return f"{shard_id}:{position}"

    def read(self, iterator: str, limit: int) -> RecordBatch:
        with self._lock:
            self._check_up()
            shard_id, _, position = iterator.partition(":")
            if shard_id not in self._shards:
                raise IteratorExpired(iterator)
            shard, first = self._shards[shard_id], int(position)
            records = deepcopy(shard.records[first : first + limit])
            end = first + len(records)
            waiting = shard.records[end:]
            behind = self._clock() - waiting[0].arrived_at if waiting else 0
            at_end = shard.closed and not waiting
            return RecordBatch(records, None if at_end else f"{shard_id}:{end}", behind)

    def _check_up(self) -> None:
        if self.down:
            raise StreamUnavailable("the stream is down")
