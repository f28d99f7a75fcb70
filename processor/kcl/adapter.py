"""The five calls of the Kinesis Client Library, handed to a `RecordProcessor`.

In: the library's messages, by their attributes, so that nothing of the library is imported here. Promises:

* A call either does its work or ends the process: the library would report an exception as success, and its next
  checkpoint would then cover what was not counted.
* Checkpoints are made inside a call only, with sub-sequence numbers, after everything before them is stored.
"""

from __future__ import annotations

import logging
import resource
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from typing import NoReturn, Protocol

from liveinsight.model.errors import FlushAbandoned, LiveInsightError, StoreUnavailable, TooManyDeadLetters
from liveinsight.storage.store import SHARD_END
from liveinsight.storage.stream import Record
from processor.kcl.exit_codes import CRASHED, FLUSH_ABANDONED, TOO_MANY_DEAD_LETTERS, Note
from processor.shard.record_processor import RecordProcessor

logger = logging.getLogger(__name__)

AGGREGATE_MAGIC = b"\xf3\x89\x9a\xc2"
"""What an aggregate of Amazon's producer library begins with. Our ingest never makes one."""
RETRYABLE = frozenset({"ThrottlingException", "KinesisClientLibDependencyException"})
LEASE_LOST = "ShutdownException"


class CheckpointRefused(LiveInsightError):
    """The library did not take a checkpoint, for a reason that trying again will not change."""


class GivenRecord(Protocol):
    """A record as the library gives it; `data` is Base64."""

    sequence_number: str
    sub_sequence_number: int
    partition_key: str
    data: str
    timestamp_millis: int


class GivenCheckpointer(Protocol):
    """The library's checkpointer. Without numbers it means everything delivered, or the shard's end."""

    def checkpoint(self, sequence_number: str | None = None, sub_sequence_number: int | None = None) -> None: ...


class Beginning(Protocol):
    """Input of `initialize`."""

    shard_id: str
    sequence_number: str | None


class Ending(Protocol):
    """Input of calls that bring a checkpointer."""

    checkpointer: GivenCheckpointer


class Batch(Ending, Protocol):
    """Input of `process_records`."""

    records: Sequence[GivenRecord]
    millis_behind_latest: int | None


class Adapter:
    """What the library calls, for one shard.

    Args:
        make_processor: gives a fresh processor; it may ask the stream for its incarnation.
        checkpoint_error: the library's exception for a checkpoint that was not taken; its `value` names the reason.
        note: tells the launcher how this ends.
        leave: ends the process at once, with an exit code.
    """

    version = 3

    def __init__(
        self,
        make_processor: Callable[[], RecordProcessor],
        checkpoint_error: type[Exception],
        note: Note,
        leave: Callable[[int], NoReturn],
    ) -> None:
        self._make_processor = make_processor
        self._checkpointer = _Checkpointer(checkpoint_error)
        self._note = note
        self._leave = leave
        self._drained = False

    def initialize(self, given: Beginning) -> None:
        """A lease begins."""
        with self._or_leave():
            self._note.begun()
            self._processor = self._make_processor()
            self._processor.initialize(given.shard_id, given.sequence_number or "")

    def process_records(self, given: Batch) -> None:
        """A batch, or a tick without records."""
        with self._or_leave(), self._checkpointer.inside(given.checkpointer):
            records = plain_records(given.records)
            if records:
                self._checkpointer.last = (records[-1].sequence_number, given.records[-1].sub_sequence_number)
            self._processor.process_records(records, self._checkpointer, given.millis_behind_latest or 0)

    def lease_lost(self, _given: object) -> None:
        """Somebody else has the shard, or after a drain nobody has."""
        with self._or_leave():
            if not self._drained:
                self._processor.lease_lost()
            self._finish()

    def shard_ended(self, given: Ending) -> None:
        """The shard is closed and read to its end: its end must be checkpointed before its children may begin."""
        with self._or_leave(), self._checkpointer.inside(given.checkpointer):
            self._processor.shard_ended(self._checkpointer)
            self._finish()

    def shutdown_requested(self, given: Ending) -> None:
        """The last chance to write and checkpoint: the worker stops, or the shard moves."""
        with self._or_leave(), self._checkpointer.inside(given.checkpointer):
            self._processor.shutdown_requested(self._checkpointer)
            self._drained = True
            self._note.done()

    def _finish(self) -> None:
        self._note.done()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        logger.info(
            "shard done",
            extra={
                "action": "end",
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
                **asdict(self._processor.progress),
            },
        )

    @contextmanager
    def _or_leave(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - whatever it is, the library must not see it
            code = exit_code_of(error)
            try:
                logger.critical("shard failed", exc_info=error, extra={"action": "shard_failed", "exit_code": code})
                self._note.failed(code)
            finally:
                self._leave(code)


def exit_code_of(error: BaseException) -> int:
    """Which exit code tells the operator of this error."""
    if isinstance(error, FlushAbandoned):
        return FLUSH_ABANDONED
    return TOO_MANY_DEAD_LETTERS if isinstance(error, TooManyDeadLetters) else CRASHED


def plain_records(given: Sequence[GivenRecord]) -> list[Record]:
    """The records as they are on the stream.

    The library takes aggregates of Amazon's producer library apart. They are not ours, and their parts have one
    sequence number between them: they are put together again, to become dead letters as in the embedded worker.
    """
    records = []
    for sequence_number, group in groupby(given, key=lambda record: record.sequence_number):
        parts = list(group)
        first, data = parts[0], [b64decode(part.data) for part in parts]
        whole = data[0] if len(parts) == 1 and first.sub_sequence_number == 0 else AGGREGATE_MAGIC + b"".join(data)
        records.append(Record(sequence_number, first.partition_key, whole, first.timestamp_millis))
    return records


class _Checkpointer:
    """Passes checkpoints on while a call lasts, and says which failures may be tried again."""

    def __init__(self, refusal: type[Exception]) -> None:
        self._refusal = refusal
        self._given: GivenCheckpointer | None = None
        self.last = ("", 0)

    @contextmanager
    def inside(self, given: GivenCheckpointer) -> Iterator[None]:
        """For the time of one call."""
        self._given = given
        try:
            yield
        finally:
            self._given = None

    def checkpoint(self, sequence_number: str) -> None:
        if self._given is None:
            raise CheckpointRefused("a checkpoint outside a call would be read as the answer to the next one")
        numbers = (None, None) if sequence_number == SHARD_END else (sequence_number, self._sub_of(sequence_number))
        try:
            self._given.checkpoint(*numbers)
        except self._refusal as error:
            self._judge(str(getattr(error, "value", error)), at_end=sequence_number == SHARD_END)

    def _sub_of(self, sequence_number: str) -> int:
        last, sub_sequence_number = self.last
        return sub_sequence_number if last == sequence_number else 0

    def _judge(self, reason: str, *, at_end: bool) -> None:
        if reason in RETRYABLE:
            raise StoreUnavailable(f"the lease table took no checkpoint: {reason}")
        if reason != LEASE_LOST or at_end:
            # Told of success, the library would wait for ever for the end of a shard that nobody processes.
            raise CheckpointRefused(f"the library took no checkpoint: {reason}")
        logger.warning("no checkpoint: the lease is lost", extra={"action": "checkpoint_refused"})
