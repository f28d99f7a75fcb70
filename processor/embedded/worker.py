"""The embedded worker: every shard of the stream on one machine, parents before children.

In: a stream, the checkpoints, and a crew that drives shards. A failure that cannot be retried in place ends the whole
worker before a checkpoint can pass it; the supervisor of the process restarts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from liveinsight.model.errors import StoreUnavailable, StreamUnavailable
from liveinsight.runtime.retry import Answer, retry_until
from liveinsight.storage.store import SHARD_END, Checkpoint, CheckpointStore, Watermark
from liveinsight.storage.stream import Shard, StartAt, Stream
from processor.embedded.shard_threads import Assignment, Crew
from processor.shard.progress import Progress


def ready_shards(shards: Iterable[Shard], ended: set[str], begun: set[str]) -> list[Shard]:
    """The shards to begin now: not begun, and all parents that still exist have ended."""
    shards = list(shards)
    existing = {shard.shard_id for shard in shards}
    return [
        shard
        for shard in shards
        if shard.shard_id not in begun
        and shard.shard_id not in ended
        and all(parent in ended for parent in shard.parents if parent in existing)
    ]


def start_of(shard: Shard, checkpoints: Mapping[str, Checkpoint], first_start: StartAt) -> StartAt:
    """Where a shard without a checkpoint begins: the child of a shard that was read begins at its start."""
    if any(parent in checkpoints for parent in shard.parents):
        return StartAt.TRIM_HORIZON
    return first_start


class WorkerStore(CheckpointStore, Protocol):
    """What a worker needs of the store."""

    def write_watermark(self, watermark: Watermark) -> None:
        """See `liveinsight.storage.store`."""


class Worker:
    """Runs until `stop` is set or a shard fails.

    Args:
        stream: whose shards are read.
        store: where each shard continues.
        crew: drives the shards.
        start_at: where shards without a checkpoint begin at a first start.
        refresh_seconds: how often to look for new shards when none has ended.
    """

    def __init__(
        self,
        stream: Stream,
        store: WorkerStore,
        crew: Crew,
        *,
        start_at: StartAt = StartAt.TRIM_HORIZON,
        refresh_seconds: float = 10.0,
    ) -> None:
        self._stream = stream
        self._store = store
        self._crew = crew
        self._start_at = start_at
        self._refresh_seconds = refresh_seconds
        self._begun: set[str] = set()

    @property
    def progress(self) -> Progress:
        """What was done so far."""
        return self._crew.progress

    @property
    def cpu_seconds(self) -> float:
        """CPU time of other processes that have driven shards."""
        return self._crew.cpu_seconds

    def run(self, stop: threading.Event) -> None:
        """Process until `stop` is set, then drain.

        Raises:
            LiveInsightError: a shard failed; nothing is checkpointed past the failure.
        """
        incarnation = self._retry(self._stream.incarnation, stop)
        while incarnation is not None and not stop.is_set() and self._crew.failure is None:
            self._crew.changed.clear()
            for assignment in self._retry(lambda: self._assign(incarnation), stop) or []:
                self._begun.add(assignment.shard_id)
                self._crew.begin(assignment)
            self._wait(stop)
        self._crew.drain()
        if self._crew.failure:
            raise self._crew.failure

    def _wait(self, stop: threading.Event) -> None:
        waited = 0.0
        while waited < self._refresh_seconds and not stop.wait(0.1) and not self._crew.changed.is_set():
            waited += 0.1

    def _retry(self, call: Callable[[], Answer], stop: threading.Event) -> Answer | None:
        return retry_until(
            lambda: stop.is_set() or self._crew.failure is not None,
            call,
            (StreamUnavailable, StoreUnavailable),
            sleep=stop.wait,
        )

    def _assign(self, incarnation: int) -> list[Assignment]:
        """The shards to begin now."""
        shards = self._stream.shards()
        stored = self._store.load_checkpoints()
        current = {shard: point for shard, point in stored.items() if point.incarnation == incarnation}
        ended = {shard for shard, point in current.items() if point.sequence_number == SHARD_END}
        assignments = []
        for shard in ready_shards(shards, ended, self._begun):
            checkpoint = current.get(shard.shard_id)
            after = checkpoint.sequence_number if checkpoint else None
            start = start_of(shard, current, self._start_at)
            if checkpoint is None and not shard.parents:
                # Before any shard begins: those that begin first must not speak for all.
                self._store.write_watermark(Watermark(shard.shard_id, 0, False, incarnation))
            assignments.append(Assignment(shard.shard_id, incarnation, after, start))
        return assignments
