"""The adapter without the library: what it hands on, what ends the process, and what it does with checkpoints."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from liveinsight.model.errors import FlushAbandoned, StoreUnavailable, TooManyDeadLetters
from liveinsight.model.events import encode_record
from liveinsight.storage.store import SHARD_END
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from processor.kcl.adapter import AGGREGATE_MAGIC, Adapter, CheckpointRefused, GivenRecord, plain_records
from processor.kcl.exit_codes import CRASHED, FLUSH_ABANDONED, TOO_MANY_DEAD_LETTERS, Note
from processor.shard import checkpoints
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

SHARD = "shardId-000000000000"


class Refused(Exception):
    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class Left(BaseException):
    """Stands for the end of the process."""


@dataclass
class ARecord:
    """A record of the library."""

    sequence_number: str
    sub_sequence_number: int
    data: str
    partition_key: str = "b000"
    timestamp_millis: int = 1_000


@dataclass
class Given:
    """Any input of the library."""

    shard_id: str = SHARD
    sequence_number: str | None = "7"
    records: Sequence[GivenRecord] = ()
    millis_behind_latest: int | None = 0
    checkpointer: Any = None


class Checkpointer:
    """Takes checkpoints, unless `refusals` has names of exceptions left."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.taken: list[tuple[str | None, int | None]] = []

    def checkpoint(self, sequence_number: str | None = None, sub_sequence_number: int | None = None) -> None:
        if self.refusals:
            raise Refused(self.refusals.pop(0))
        self.taken.append((sequence_number, sub_sequence_number))


class Rig:
    """An adapter over the real record processor and a store in memory."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.processor = RecordProcessor(
            self.store, 1, ProcessorOptions(give_up_after=10, drain_within=5), self.clock, self._sleep
        )
        self.folder = folder
        self.left: list[int] = []
        self.adapter = Adapter(lambda: self.processor, Refused, Note(folder, 1), self._leave)

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)

    def _leave(self, code: int) -> NoReturn:
        self.left.append(code)
        raise Left

    def batch(self, *records: GivenRecord, checkpointer: Checkpointer | None = None) -> Given:
        return Given(records=list(records), checkpointer=checkpointer or Checkpointer())

    @property
    def notes(self) -> list[str]:
        return [note.read_text() for note in self.folder.glob("*.note")]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def a_record(number: int, data: bytes | None = None, sub: int = 0) -> GivenRecord:
    event = an_event(visitor=number, event_id=number)
    return ARecord(
        sequence_number=str(number),
        sub_sequence_number=sub,
        data=b64encode(encode_record([event]) if data is None else data).decode(),
    )


def test_a_batch_is_counted_and_checkpointed_with_its_sub_sequence_number(rig: Rig) -> None:
    """The checkpoint names the last record of the batch and its sub-sequence number, after the writes."""
    checkpointer = Checkpointer()
    rig.adapter.initialize(Given(sequence_number=""))
    rig.adapter.process_records(rig.batch(a_record(8), a_record(9), checkpointer=checkpointer))
    assert checkpointer.taken == [("9", 0)]
    assert rig.processor.progress.events == 2
    assert rig.store.visitors


def test_a_tick_flushes_what_a_batch_has_left(rig: Rig) -> None:
    """A call without records is a tick: what became due is written, and the checkpoint is that of the batch before."""
    checkpointer = Checkpointer()
    rig.adapter.initialize(Given())
    rig.adapter.process_records(rig.batch())
    rig.adapter.process_records(rig.batch(a_record(9), checkpointer=checkpointer))
    assert checkpointer.taken == []
    rig.clock.advance(seconds=61)
    rig.adapter.process_records(rig.batch(checkpointer=checkpointer))
    assert checkpointer.taken == [("9", 0)]


def test_a_drain_and_a_shards_end_are_checkpointed(rig: Rig) -> None:
    """A stop checkpoints the last record; a shard's end is a checkpoint without numbers, as the library wants it."""
    checkpointer = Checkpointer()
    rig.adapter.initialize(Given())
    rig.adapter.process_records(rig.batch())
    rig.adapter.process_records(rig.batch(a_record(9), checkpointer=checkpointer))
    rig.adapter.shutdown_requested(Given(checkpointer=checkpointer))
    assert checkpointer.taken == [("9", 0)]
    rig.adapter.shard_ended(Given(checkpointer=checkpointer))
    assert checkpointer.taken == [("9", 0), (None, None)]
    assert rig.notes == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FlushAbandoned("x"), FLUSH_ABANDONED),
        (TooManyDeadLetters("x"), TOO_MANY_DEAD_LETTERS),
        (KeyError("x"), CRASHED),
        (KeyboardInterrupt(), CRASHED),
    ],
)
def test_any_failure_ends_the_process(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """No exception reaches the library, which would report success: the process ends with a code of its own."""

    def fail(*_: object) -> None:
        raise error

    rig.adapter.initialize(Given())
    assert rig.notes == ["running"]
    for call in ("process_records", "shard_ended", "shutdown_requested", "lease_lost"):
        monkeypatch.setattr(rig.processor, call, fail)
        with pytest.raises(Left):
            getattr(rig.adapter, call)(rig.batch())
    assert rig.left == [code] * 4
    assert rig.notes == [str(code)]


def test_a_failure_ends_the_process_even_if_nobody_can_be_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk must not turn a failure into what the library takes for success."""

    def fail(*_: object) -> None:
        raise OSError("no space left")

    rig.adapter.initialize(Given())
    monkeypatch.setattr(rig.processor, "process_records", fail)
    monkeypatch.setattr(Note, "failed", fail)
    with pytest.raises(Left):
        rig.adapter.process_records(rig.batch())
    assert rig.left == [CRASHED]


def test_a_failing_start_ends_the_process(rig: Rig) -> None:
    """Also while the processor is made: the stream may not say its incarnation."""

    def fail() -> RecordProcessor:
        raise StoreUnavailable("gone")

    adapter = Adapter(fail, Refused, Note(None, 1), rig._leave)
    with pytest.raises(Left):
        adapter.initialize(Given())
    assert rig.left == [CRASHED]


@pytest.mark.parametrize("reason", ["ThrottlingException", "KinesisClientLibDependencyException"])
def test_a_throttled_checkpoint_is_tried_again(rig: Rig, reason: str) -> None:
    """In place, within the call."""
    checkpointer = Checkpointer(reason, reason)
    rig.adapter.initialize(Given())
    rig.adapter.process_records(rig.batch(a_record(9), checkpointer=checkpointer))
    assert checkpointer.taken == [("9", 0)]
    assert rig.left == []


def test_a_checkpoint_that_stays_throttled_ends_the_process(rig: Rig) -> None:
    """After `give_up_after`: a stop before any checkpoint is a replay, which counts nothing twice."""
    rig.adapter.initialize(Given())
    with pytest.raises(Left):
        rig.adapter.process_records(rig.batch(a_record(9), checkpointer=Checkpointer(*["ThrottlingException"] * 99)))
    assert rig.left == [FLUSH_ABANDONED]


def test_a_lost_lease_takes_no_checkpoint_and_no_harm_is_done(rig: Rig) -> None:
    """A zombie goes on until the library tells it: the marks in the items let each contribution in once."""
    rig.adapter.initialize(Given())
    rig.adapter.process_records(rig.batch(a_record(9), checkpointer=Checkpointer("ShutdownException")))
    rig.adapter.lease_lost(Given())
    assert rig.left == []
    assert rig.notes == []


@pytest.mark.parametrize("reason", ["ShutdownException", "InvalidStateException"])
def test_a_shards_end_that_is_not_taken_ends_the_process(rig: Rig, reason: str) -> None:
    """Otherwise the library would wait for it for ever."""
    rig.adapter.initialize(Given())
    with pytest.raises(Left):
        rig.adapter.shard_ended(Given(checkpointer=Checkpointer(reason)))
    assert rig.left == [CRASHED]


def test_no_checkpoint_outside_a_call(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads what is sent between calls as the answer to the next one."""
    kept: list[checkpoints.Checkpointer] = []
    monkeypatch.setattr(
        rig.processor, "process_records", lambda records, checkpointer, behind: kept.append(checkpointer)
    )
    rig.adapter.initialize(Given())
    rig.adapter.process_records(rig.batch(a_record(9)))
    (checkpointer,) = kept
    with pytest.raises(CheckpointRefused):
        checkpointer.checkpoint("9")
    with pytest.raises(CheckpointRefused):
        checkpointer.checkpoint(SHARD_END)


def test_an_aggregate_is_put_together_as_one_dead_letter(rig: Rig) -> None:
    """The parts of a producer library's aggregate share a sequence number, so they would share marks: they become one
    record that is not ours, as the embedded worker sees it; and the checkpoint is at the last part."""
    parts = [a_record(8, sub=0), a_record(8, sub=1)]
    (whole, plain) = plain_records([*parts, a_record(9)])
    assert whole.data.startswith(AGGREGATE_MAGIC)
    assert (whole.sequence_number, plain.sequence_number) == ("8", "9")
    checkpointer = Checkpointer()
    rig.adapter.initialize(Given())
    rig.adapter.process_records(rig.batch(a_record(7), *parts, checkpointer=checkpointer))
    assert checkpointer.taken == [("8", 1)]
    assert rig.processor.progress.dead_letters == 1
