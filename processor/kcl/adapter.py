"""Passes the five calls of the Kinesis Client Library to a `RecordProcessor`.

In: the messages of the library, as protocols, so that nothing of the library is imported here. Promises:

* A call either succeeds or ends the process. The library would report an exception as success, and its next checkpoint
  would then cover records that are not counted.
* Checkpoints are made only inside a call, with sub-sequence numbers, after everything before them is stored.
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
"""First bytes of an aggregate of the Kinesis Producer Library. Ingest never makes one."""
RETRYABLE = frozenset({"ThrottlingException", "KinesisClientLibDependencyException"})
LEASE_LOST = "ShutdownException"


class CheckpointRefused(LiveInsightError):
    """The library refused a checkpoint, and a retry is useless."""


class GivenRecord(Protocol):
    """A record of the library; `data` is Base64."""

    sequence_number: str
    sub_sequence_number: int
    partition_key: str
    data: str
    timestamp_millis: int


class GivenCheckpointer(Protocol):
    """The checkpointer of the library. Without numbers it covers all delivered records, or the end of the shard."""

    def checkpoint(self, sequence_number: str | None = None, sub_sequence_number: int | None = None) -> None: ...


class InitializeInput(Protocol):
    """Input of `initialize`."""

    shard_id: str
    sequence_number: str | None


class CheckpointInput(Protocol):
    """Input of calls that have a checkpointer."""

    checkpointer: GivenCheckpointer


class ProcessRecordsInput(CheckpointInput, Protocol):
    """Input of `process_records`."""

    records: Sequence[GivenRecord]
    millis_behind_latest: int | None


class Adapter:
    """The record processor that the library calls, for one shard.

    Args:
        make_processor: makes a processor; it may ask the stream for its incarnation.
        checkpoint_error: the library's exception for a refused checkpoint; its `value` names the reason.
        note: tells the launcher how the process ends.
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

    def initialize(self, given: InitializeInput) -> None:
        """A lease begins."""
        with self._or_leave():
            self._note.begun()
            self._processor = self._make_processor()
            self._processor.initialize(given.shard_id, given.sequence_number or "")

    def process_records(self, given: ProcessRecordsInput) -> None:
        """A batch, or a tick without records."""
        with self._or_leave(), self._checkpointer.inside(given.checkpointer):
            records = plain_records(given.records)
            if records:
                self._checkpointer.last = (records[-1].sequence_number, given.records[-1].sub_sequence_number)
            self._processor.process_records(records, self._checkpointer, given.millis_behind_latest or 0)

    def lease_lost(self, _given: object) -> None:
        """Another worker has the shard, or after a drain no worker."""
        with self._or_leave():
            if not self._drained:
                self._processor.lease_lost()
            self._finish()

    def shard_ended(self, given: CheckpointInput) -> None:
        """The shard is closed and read to its end, which must be checkpointed before its children begin."""
        with self._or_leave(), self._checkpointer.inside(given.checkpointer):
            self._processor.shard_ended(self._checkpointer)
            self._finish()

    def shutdown_requested(self, given: CheckpointInput) -> None:
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
    """The exit code of an error."""
    if isinstance(error, FlushAbandoned):
        return FLUSH_ABANDONED
    return TOO_MANY_DEAD_LETTERS if isinstance(error, TooManyDeadLetters) else CRASHED


def plain_records(given: Sequence[GivenRecord]) -> list[Record]:
    """The records as they are on the stream.

    The library splits aggregates of the Kinesis Producer Library into parts with the same sequence number. They are
    joined again and become dead letters, as in the embedded worker.
    """
    records = []
    for sequence_number, group in groupby(given, key=lambda record: record.sequence_number):
        parts = list(group)
        first, data = parts[0], [b64decode(part.data) for part in parts]
        whole = data[0] if len(parts) == 1 and first.sub_sequence_number == 0 else AGGREGATE_MAGIC + b"".join(data)
        records.append(Record(sequence_number, first.partition_key, whole, first.timestamp_millis))
    return records


class _Checkpointer:
    """Passes checkpoints on during a call, and decides which failures are retried."""

    def __init__(self, refusal: type[Exception]) -> None:
        self._refusal = refusal
        self._given: GivenCheckpointer | None = None
        self.last = ("", 0)

    @contextmanager
    def inside(self, given: GivenCheckpointer) -> Iterator[None]:
        """Accept checkpoints during one call."""
        self._given = given
        try:
            yield
        finally:
            self._given = None

    def checkpoint(self, sequence_number: str) -> None:
        if self._given is None:
            raise CheckpointRefused("a checkpoint outside a call would be read as the answer to the next call")
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
            raise StoreUnavailable(f"the lease table refused a checkpoint: {reason}")
        if reason != LEASE_LOST or at_end:
            # After a success the library would wait forever for the end of a shard that no worker processes.
            raise CheckpointRefused(f"the library refused a checkpoint: {reason}")
        logger.warning("no checkpoint: the lease is lost", extra={"action": "checkpoint_refused"})
