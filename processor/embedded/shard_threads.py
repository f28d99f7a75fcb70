"""Drives shards in this process, one thread each.

In: assignments. Out: the five calls of a record processor, as the Kinesis Client Library makes them. A failure that
cannot be retried in place is kept: the worker must end, before a checkpoint passes it, instead of going on without the
shard.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from liveinsight.model.errors import IteratorExpired, LiveInsightError, StreamUnavailable
from liveinsight.storage.store import CheckpointStore
from liveinsight.storage.stream import StartAt, Stream
from processor.shard.checkpoints import StoreCheckpointer
from processor.shard.progress import Progress
from processor.shard.record_processor import RecordProcessor

logger = logging.getLogger(__name__)

READ_LIMIT = 2_000
"""Records per read: a bound on the memory of one batch."""


class Assignment(NamedTuple):
    """A shard to drive, and where to begin: after a sequence number, or (None) at `start`."""

    shard_id: str
    incarnation: int
    after: str | None
    start: StartAt


class Crew(Protocol):
    """Who drives the shards of a worker."""

    changed: threading.Event
    """Set when a shard has ended or failed."""

    def begin(self, assignment: Assignment) -> None:
        """Begin to drive a shard."""

    @property
    def failure(self) -> BaseException | None:
        """The first failure."""

    def drain(self) -> None:
        """Write and checkpoint what was read, and end."""

    @property
    def progress(self) -> Progress:
        """What was done so far, of all shards."""

    @property
    def cpu_seconds(self) -> float:
        """CPU time of other processes than this one."""


class ShardThreads:
    """A `Crew` of threads.

    Args:
        stream: where records are read.
        checkpoints: where positions are kept.
        make_processor: makes a record processor for a stream incarnation.
        poll_interval: seconds between reads of a shard that is not behind.
    """

    def __init__(
        self,
        stream: Stream,
        checkpoints: CheckpointStore,
        make_processor: Callable[[int], RecordProcessor],
        poll_interval: float = 0.25,
    ) -> None:
        self._stream = stream
        self._checkpoints = checkpoints
        self._make_processor = make_processor
        self._poll_interval = poll_interval
        self._halt = threading.Event()
        self._threads: list[threading.Thread] = []
        self._processors: list[RecordProcessor] = []
        self.changed = threading.Event()
        self.failure: BaseException | None = None

    @property
    def progress(self) -> Progress:
        return Progress.sum(processor.progress for processor in list(self._processors))

    @property
    def running(self) -> int:
        """Shards that have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    @property
    def cpu_seconds(self) -> float:
        return 0.0

    def begin(self, assignment: Assignment) -> None:
        thread = threading.Thread(target=self._guard, args=(assignment,), name=assignment.shard_id)
        self._threads.append(thread)
        thread.start()

    def drain(self) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join()

    def _guard(self, assignment: Assignment) -> None:
        try:
            self._drive(assignment)
        except BaseException as error:
            # The exception of a thread would be lost.
            self.failure = self.failure or error
            action = "shard_failed" if isinstance(error, LiveInsightError) else "shard_crashed"
            extra = {"action": action, "shard": assignment.shard_id}
            logger.critical("shard failed", exc_info=error, extra=extra)
        finally:
            self.changed.set()

    def _drive(self, assignment: Assignment) -> None:
        shard_id, incarnation, after, start = assignment
        processor = self._make_processor(incarnation)
        self._processors.append(processor)
        checkpointer = StoreCheckpointer(self._checkpoints, shard_id, incarnation)
        processor.initialize(shard_id, after or "")
        iterator: str | None = None
        while not self._halt.is_set():
            try:
                if iterator is None:
                    iterator = self._stream.iterator(shard_id, after=after, start=start)
                batch = self._stream.read(iterator, READ_LIMIT)
            except IteratorExpired:
                iterator = None
                continue
            except StreamUnavailable as error:
                logger.warning("stream unavailable", extra={"action": "wait", "shard": shard_id, "problem": str(error)})
                self._halt.wait(error.retry_after)
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
                self._halt.wait(self._poll_interval)
        processor.shutdown_requested(checkpointer)
