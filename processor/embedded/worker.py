"""The embedded worker: every shard of the stream on one machine, one thread each, parents before children.

It makes the same five calls as the Kinesis Client Library. A failure that cannot be retried in place ends the whole
worker before a checkpoint can pass it; the supervisor of the process restarts it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from liveinsight.model.clock import Clock
from liveinsight.model.errors import IteratorExpired, LiveInsightError, StoreUnavailable, StreamUnavailable
from liveinsight.runtime.retry import Answer, retry_until
from liveinsight.storage.store import SHARD_END, Checkpoint, CheckpointStore
from liveinsight.storage.stream import Shard, StartAt, Stream
from processor.shard.checkpoints import StoreCheckpointer
from processor.shard.record_processor import RecordProcessor

logger = logging.getLogger(__name__)

READ_LIMIT = 2_000
"""Records per read: a bound on the memory of one batch."""


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


class Worker:
    """Runs until `stop` is set or a shard fails.

    Args:
        stream: where records are read.
        checkpoints: where each shard continues.
        make_processor: makes a `RecordProcessor` for a stream incarnation.
        clock: current time.
        start_at: where shards without a checkpoint begin at a first start.
        poll_interval: seconds between reads of a shard that is not behind.
        refresh_seconds: how often to look for new shards when none has ended.
    """

    def __init__(
        self,
        stream: Stream,
        checkpoints: CheckpointStore,
        make_processor: Callable[[int], RecordProcessor],
        clock: Clock,
        *,
        start_at: StartAt = StartAt.TRIM_HORIZON,
        poll_interval: float = 0.25,
        refresh_seconds: float = 10.0,
    ) -> None:
        self._stream = stream
        self._checkpoints = checkpoints
        self._make_processor = make_processor
        self._clock = clock
        self._start_at = start_at
        self._poll_interval = poll_interval
        self._refresh_seconds = refresh_seconds
        self._changed = threading.Event()
        self._failures: list[BaseException] = []
        self.processors: dict[str, RecordProcessor] = {}

    def run(self, stop: threading.Event) -> None:
        """Process until `stop` is set, then drain.

        Raises:
            LiveInsightError: a shard failed; nothing is checkpointed past the failure.
        """
        halt = threading.Event()
        threads: list[threading.Thread] = []
        incarnation = self._retry(self._stream.incarnation, stop)
        if incarnation is None:
            return
        while not stop.is_set() and not self._failures:
            self._changed.clear()
            for shard, checkpoint, start in self._retry(lambda: self._assign(incarnation), stop) or []:
                thread = threading.Thread(
                    target=self._guard, args=(shard, incarnation, checkpoint, start, halt), name=shard.shard_id
                )
                threads.append(thread)
                thread.start()
            self._wait(stop)
        halt.set()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _wait(self, stop: threading.Event) -> None:
        waited = 0.0
        while waited < self._refresh_seconds and not stop.wait(0.1) and not self._changed.is_set():
            waited += 0.1

    def _retry(self, call: Callable[[], Answer], stop: threading.Event) -> Answer | None:
        return retry_until(
            lambda: stop.is_set() or bool(self._failures),
            call,
            (StreamUnavailable, StoreUnavailable),
            sleep=stop.wait,
        )

    def _assign(self, incarnation: int) -> list[tuple[Shard, Checkpoint | None, StartAt]]:
        shards = self._stream.shards()
        stored = self._checkpoints.load_checkpoints()
        current = {shard: point for shard, point in stored.items() if point.incarnation == incarnation}
        ended = {shard for shard, point in current.items() if point.sequence_number == SHARD_END}
        return [
            (shard, current.get(shard.shard_id), start_of(shard, current, self._start_at))
            for shard in ready_shards(shards, ended, set(self.processors))
        ]

    def _guard(
        self, shard: Shard, incarnation: int, checkpoint: Checkpoint | None, start: StartAt, halt: threading.Event
    ) -> None:
        try:
            self._drive(shard.shard_id, incarnation, checkpoint, start, halt)
        except BaseException as error:
            # The exception of a thread would be lost; the worker must end instead of continuing without this shard.
            self._failures.append(error)
            action = "shard_failed" if isinstance(error, LiveInsightError) else "shard_crashed"
            logger.critical("shard failed", exc_info=error, extra={"action": action, "shard": shard.shard_id})
        finally:
            self._changed.set()

    def _drive(
        self, shard_id: str, incarnation: int, checkpoint: Checkpoint | None, start: StartAt, halt: threading.Event
    ) -> None:
        processor = self.processors[shard_id] = self._make_processor(incarnation)
        checkpointer = StoreCheckpointer(self._checkpoints, shard_id, incarnation)
        after = checkpoint.sequence_number if checkpoint else None
        processor.initialize(shard_id, after or "")
        iterator: str | None = None
        while not halt.is_set():
            try:
                if iterator is None:
                    iterator = self._stream.iterator(shard_id, after=after, start=start)
                batch = self._stream.read(iterator, READ_LIMIT)
            except IteratorExpired:
                iterator = None
                continue
            except StreamUnavailable as error:
                logger.warning("stream unavailable", extra={"action": "wait", "shard": shard_id, "problem": str(error)})
                halt.wait(error.retry_after)
                continue
            if batch.records:
                after = batch.records[-1].sequence_number
            processor.process_records(batch.records, checkpointer, batch.millis_behind)
            if batch.next_iterator is None:
                processor.shard_ended(checkpointer)
                return
            iterator = batch.next_iterator
            if not batch.millis_behind:
                # The shard has no backlog: let records gather, as Kinesis allows only five reads a second.
                halt.wait(self._poll_interval)
        processor.shutdown_requested(checkpointer)
