"""The Lambda function counts once, through whatever Lambda and DynamoDB do.

Simulation --records--> a mapping as Lambda runs it --events--> Handler --> FaultyStore
                        (the same batch again, in halves, from the record named in the answer, or twice)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from liveinsight.model.errors import FlushAbandoned, LiveInsightError
from liveinsight.storage.store import Document, ProcessorStore, Written
from liveinsight.storage.stream import Record
from liveinsight.testing.builders import FakeClock
from liveinsight.testing.expected import differences, stored_in
from liveinsight.testing.faulty_store import Crash, FaultyStore
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.testing.simulation import Checkpointer, Simulation
from processor.aws_lambda.batch import BatchCounter
from processor.aws_lambda.handler import Handler
from processor.shard.record_processor import RecordProcessor
from processor.shard.visitor_writer import VisitorWriter
from tests.processor.aws_lambda.lambda_service import OPTIONS, WELL, Invocation, as_event
from tests.seeds import simulation_seeds

pytestmark = pytest.mark.simulation
SEEDS = simulation_seeds(600)


class SlowStore:
    """A faulty store that takes time, keeps documents, and is out of reach once Lambda has ended the invocation."""

    def __init__(self, faulty: ProcessorStore, memory: MemoryStore, clock: FakeClock, rng: random.Random) -> None:
        assert isinstance(faulty, FaultyStore)
        self._faulty, self._memory, self._clock, self._rng = faulty, memory, clock, rng
        self.killed_at = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self._faulty, name)

        def slowly(*arguments: Any) -> Any:
            self._take_time()
            return call(*arguments)

        return slowly

    def load_document(self, name: str) -> Document:
        self._take_time()
        return self._faulty._read(lambda: self._memory.load_document(name))

    def save_document(self, name: str, document: Document) -> bool:
        self._take_time()

        def send(documents: Sequence[Document]) -> Written:
            for one in documents:
                self._memory.save_document(name, one)
            return Written()

        self._faulty._write([document], send)
        return self._memory.load_document(name) == document

    def _take_time(self) -> None:
        self._clock.advance(seconds=self._rng.choice([0, 0, 0, 0, 0.05, 0.3]))
        if self._clock() >= self.killed_at:
            raise Crash


class Mapping:
    """A shard's event source mapping, driven by the calls of the simulation."""

    def __init__(
        self, store: ProcessorStore, memory: MemoryStore, stream: MemoryStream, clock: FakeClock, rng: random.Random
    ) -> None:
        self._faulty, self._memory, self._stream, self._clock, self._rng = store, memory, stream, clock, rng
        self._warm: list[tuple[Handler, SlowStore]] = []
        self._old: list[list[Record]] = []

    def initialize(self, shard_id: str, sequence_number: str) -> None:
        self._shard_id = shard_id

    def process_records(self, records: Sequence[Record], checkpointer: Checkpointer, millis_behind: int) -> None:
        if not records:
            return
        waiting = [list(records)]
        for _ in range(200):
            batch = waiting.pop(0)
            self._old.append(batch)
            done = self._invoke(batch)
            if self._rng.random() < 0.1:
                # Once more, although there is no need: the same one, or one from long ago.
                self._invoke(self._rng.choice([batch, *self._old]))
            rest = batch[done:]
            if len(rest) > 1 and self._rng.random() < 0.3:
                middle = len(rest) // 2
                waiting[:0] = [rest[:middle], rest[middle:]]
            elif rest:
                waiting.insert(0, rest)
            if not waiting:
                return
        raise FlushAbandoned("this batch does not get through")

    def lease_lost(self) -> None:
        """Nobody tells a function."""

    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """Nobody tells a function."""

    def shutdown_requested(self, checkpointer: Checkpointer) -> None:
        """Nobody tells a function."""

    def _invoke(self, batch: list[Record]) -> int:
        """One invocation; how many records of the batch Lambda takes for done."""
        handler, store = self._container()
        context = Invocation(self._clock, self._rng.choice([3, 5, 20]))
        store.killed_at = context.killed_at
        try:
            failures = handler(as_event(self._shard_id, batch), context)["batchItemFailures"]
        except (Crash, LiveInsightError) as problem:
            # Ended from outside: its container is gone. Otherwise it stays, with whatever is in it.
            if not isinstance(problem, Crash):
                self._warm.append((handler, store))
            self._clock.advance(seconds=self._rng.choice([0.1, 10, 400]))
            return 0
        self._warm.append((handler, store))
        numbers = [record.sequence_number for record in batch]
        return min((numbers.index(failure["itemIdentifier"]) for failure in failures), default=len(batch))

    def _container(self) -> tuple[Handler, SlowStore]:
        if self._warm and self._rng.random() < 0.7:
            return self._warm.pop(self._rng.randrange(len(self._warm)))
        store = SlowStore(self._faulty, self._memory, self._clock, self._rng)
        sleep = lambda seconds: self._clock.advance(seconds=seconds)  # noqa: E731
        counter = BatchCounter(self._stream, store, OPTIONS, self._clock, sleep, records_per_step=2)
        return Handler("shop", self._stream, counter, lambda *_: WELL, self._clock), store


def differences_of(seed: int) -> list[str]:
    """What one run leaves wrong; it may also come to no end."""
    memory = MemoryStore()
    rng = random.Random(seed)

    def make(store: ProcessorStore, incarnation: int, clock: FakeClock) -> Mapping:
        return Mapping(store, memory, simulation.stream, clock, rng)

    simulation = Simulation(seed, make, store=memory)
    simulation.run()
    return differences(stored_in(memory), simulation.expected())


@pytest.fixture
def hard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short memory for event ids, so that the marks must do it alone."""
    monkeypatch.setattr("liveinsight.counting.sessions.MAX_RECENT_IDS", 2)


@pytest.mark.parametrize("part", range(4))
def test_what_is_stored_equals_a_recount(part: int, hard: None) -> None:
    """Whatever is retried, halved, doubled, killed or answered in part, all that is stored equals the recount."""
    for seed in SEEDS[part::4]:
        wrong = differences_of(seed)
        assert wrong == [], f"TEST_SEED={seed} runs it alone\n" + "\n".join(wrong)


def answers_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not counted in time is not named in the answer."""
    count = BatchCounter.count
    monkeypatch.setattr(BatchCounter, "count", lambda *arguments: count(*arguments) and "")


def keeps_visitors_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """States stay in a container, while others go on with the same visitors."""
    kept: dict[int, VisitorWriter] = {}

    class Warm(RecordProcessor):
        def __init__(self, store: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(store, *arguments, **options)
            self._visitors = kept.setdefault(id(store), self._visitors)

    monkeypatch.setattr("processor.aws_lambda.batch.RecordProcessor", Warm)


def checkpoints_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is moved before what it covers is stored."""
    process = RecordProcessor.process_records

    def early(self: Any, records: Sequence[Record], checkpointer: Checkpointer, behind: int) -> None:
        checkpointer.checkpoint(records[-1].sequence_number)
        process(self, records, checkpointer, behind)

    monkeypatch.setattr(RecordProcessor, "process_records", early)


@pytest.mark.parametrize("mutation", [answers_too_early, keeps_visitors_warm, checkpoints_first])
def test_simulation_catches(
    mutation: Callable[[pytest.MonkeyPatch], None], hard: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rule broken, the same runs find it out."""
    mutation(monkeypatch)

    def is_wrong(seed: int) -> bool:
        try:
            return bool(differences_of(seed))
        except AssertionError:
            return True

    assert any(is_wrong(seed) for seed in range(60))
