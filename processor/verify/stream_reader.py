"""Reads all records that a stream holds, and says for which arrival times they are complete.

In: a stream. Out: its records in order, parents before children. A second read gives only newer records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from liveinsight.model.buckets import DAY_MS
from liveinsight.model.clock import Clock
from liveinsight.model.errors import IteratorExpired, StreamUnavailable
from liveinsight.runtime.retry import Answer, retry
from liveinsight.storage.stream import Record, RecordBatch, Shard, StartAt, Stream

READ_LIMIT = 10_000
"""Records per read: the limit of Kinesis."""
READ_PAUSE = 0.2
"""Seconds between reads. Kinesis allows five reads a second and shard, and the worker needs some of them."""
READ_ATTEMPTS = 8
LEAST_RETENTION = DAY_MS
"""Kinesis keeps records for at least a day."""


class KeptRecord(NamedTuple):
    """A record and its place in the stream."""

    incarnation: int
    shard_id: str
    record: Record


class Coverage(NamedTuple):
    """The records are complete for arrivals from `since` (None: since the stream exists) to `until`. Epoch ms."""

    since: int | None
    until: int

    def beyond(self, moment: int) -> Coverage:
        """The same without what arrived before `moment`: some of it was counted from elsewhere. 0: nothing was."""
        return Coverage(max(self.since or 0, moment), self.until) if moment else self


class StreamReader:
    """Reads a stream, beginning with its oldest record."""

    def __init__(
        self, stream: Stream, clock: Clock, *, sleep: Callable[[float], object] = time.sleep, pause: float = READ_PAUSE
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._sleep = sleep
        self._pause = pause
        self._incarnation = 0
        self._began = 0
        self._roots: list[str] = []
        self._first_arrival: dict[str, int] = {}
        self._position: dict[str, str] = {}
        self._ended: set[str] = set()

    def read(self) -> Iterator[KeptRecord]:
        """The records that are on the stream now and were not read before.

        Raises:
            StreamUnavailable: the stream does not answer.
        """
        until = self._clock()
        shards = self._retry(self._stream.shards)
        if not self._began:
            self._began = until
            self._incarnation = self._retry(self._stream.incarnation)
            self._roots = roots(shards)
        for shard in shards:
            if shard.shard_id not in self._ended:
                yield from self._read_shard(shard.shard_id, until)

    @property
    def coverage(self) -> Coverage:
        """The arrival times for which the first `read` was complete.

        Kinesis does not report what it has trimmed. Records older than the oldest one may have been trimmed; records
        younger than a day cannot have been; and a shard whose parent is still listed has lost nothing.
        """
        surely_kept = self._began - LEAST_RETENTION
        if self._incarnation >= surely_kept:
            return Coverage(None, self._began)
        oldest = [min(self._first_arrival.get(root, surely_kept), surely_kept) for root in self._roots]
        return Coverage(max(oldest, default=surely_kept), self._began)

    def _read_shard(self, shard_id: str, until: int) -> Iterator[KeptRecord]:
        iterator: str | None = None
        while True:
            try:
                batch, iterator = self._next_batch(shard_id, iterator)
            except IteratorExpired:
                iterator = None
                continue
            for record in batch.records:
                self._first_arrival.setdefault(shard_id, record.arrived_at)
                self._position[shard_id] = record.sequence_number
                yield KeptRecord(self._incarnation, shard_id, record)
            if iterator is None:
                self._ended.add(shard_id)
                return
            at_tip = not batch.records and not batch.millis_behind
            if at_tip or (batch.records and batch.records[-1].arrived_at >= until):
                return
            self._sleep(self._pause)

    def _next_batch(self, shard_id: str, iterator: str | None) -> tuple[RecordBatch, str | None]:
        if iterator is None:
            after = self._position.get(shard_id)
            start = StartAt.TRIM_HORIZON
            iterator = self._retry(lambda: self._stream.iterator(shard_id, after=after, start=start))
        current = iterator
        batch = self._retry(lambda: self._stream.read(current, READ_LIMIT))
        return batch, batch.next_iterator

    def _retry(self, call: Callable[[], Answer]) -> Answer:
        return retry(call, StreamUnavailable, attempts=READ_ATTEMPTS, sleep=self._sleep)


def roots(shards: list[Shard]) -> list[str]:
    """Ids of the shards without a listed parent."""
    listed = {shard.shard_id for shard in shards}
    return [shard.shard_id for shard in shards if not listed.intersection(shard.parents)]
