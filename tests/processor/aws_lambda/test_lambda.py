"""The Lambda function: counting once through whatever Lambda and DynamoDB do, what it refuses, and what it answers.

    Simulation --records--> a mapping as Lambda runs it --events--> Handler --> FaultyStore
                            (the same batch again, in halves, from the record named in the answer, or twice)

Events have the shape that AWS sends: JSON with Base64 data.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from liveinsight.aws.lambda_mapping import Mappings, check_mappings
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import FlushAbandoned, LiveInsightError, StoreUnavailable, TooManyDeadLetters
from liveinsight.model.events import Event, encode_record, partition_key
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.settings import Settings
from liveinsight.storage.store import SHARD_END, Document, ProcessorStore, Store, Written
from liveinsight.storage.stream import OutRecord, Record, StartAt, Stream
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.expected import differences, recount, stored_in
from liveinsight.testing.faulty_store import Crash, FaultyStore
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.testing.simulation import Checkpointer, Simulation
from processor.aws_lambda import handler
from processor.aws_lambda.batch import BatchCounter
from processor.aws_lambda.event import LambdaRefused, parse_event
from processor.aws_lambda.handler import Handler
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from processor.shard.visitor_writer import VisitorWriter
from tests.seeds import simulation_seeds

SEEDS = simulation_seeds(600)
OPTIONS = ProcessorOptions(counters_interval=1, previews_interval=2, sessions_interval=3)
ARN = "arn:aws:kinesis:eu-central-1:123456789012:stream/shop"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:count"
ROOT = "shardId-000000000000"
WELL = Mappings([], True, "")


def as_event(shard_id: str, records: Sequence[Record], arn: str = ARN) -> dict[str, Any]:
    """What Lambda sends for these records, through JSON as it comes."""
    entries = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": record.sequence_number,
                "data": base64.b64encode(record.data).decode(),
                "approximateArrivalTimestamp": record.arrived_at / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id}:{record.sequence_number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "eu-central-1",
            "eventSourceARN": arn,
        }
        for record in records
    ]
    event: dict[str, Any] = json.loads(json.dumps({"Records": entries}))
    return event


class Invocation:
    """Lambda's context."""

    invoked_function_arn = FUNCTION

    def __init__(self, clock: FakeClock, seconds: float = 60) -> None:
        self._clock = clock
        self.killed_at = clock() + round(seconds * 1000)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self.killed_at - self._clock())


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


@pytest.mark.simulation
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


@pytest.mark.simulation
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


# --- single invocations ----------------------------------------------------------------------------------------------


class Place:
    """A stream, a store, and a function that counts one into the other."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.stream = MemoryStream(clock, shards=1)
        self.store = MemoryStore()
        self.mappings = WELL
        self.options = OPTIONS
        self.records_per_step = 500
        self.placed: list[tuple[str, Event]] = []
        self._put = 0

    def handler(self) -> Handler:
        """A cold container."""
        sleep = lambda seconds: self.clock.advance(seconds=seconds)  # noqa: E731
        size = self.records_per_step
        counter = BatchCounter(self.stream, self.store, self.options, self.clock, sleep, records_per_step=size)
        return Handler("shop", self.stream, counter, lambda *_: self.mappings, self.clock)

    def put(self, events: int = 1) -> None:
        for _ in range(events):
            self._put += 1
            event = an_event(at=self.clock(), visitor=self._put, event_id=self._put)
            where = self.stream.put([OutRecord(partition_key(event.visitor), encode_record([event]))])[0]
            mark = record_mark(mark_prefix(self.stream.incarnation(), where.shard_id), where.sequence_number)
            self.placed.append((event_mark(mark, 0), event))

    def records(self, shard_id: str = ROOT) -> list[Record]:
        iterator = self.stream.iterator(shard_id, after=None, start=StartAt.TRIM_HORIZON)
        return self.stream.read(iterator, 1000).records

    def invoke(self, records: Sequence[Record], *, shard_id: str = ROOT, seconds: float = 60) -> list[dict[str, str]]:
        context = Invocation(self.clock, seconds)
        return self.handler()(as_event(shard_id, records), context)["batchItemFailures"]

    def assert_exact(self) -> None:
        assert differences(stored_in(self.store), recount(self.placed)) == []


@pytest.fixture
def place(clock: FakeClock) -> Place:
    return Place(clock)


def test_a_batch_is_stored_when_the_answer_comes(place: Place) -> None:
    """Counters, visitors, checkpoint and watermark are all there, and no record is named as failed."""
    place.put(7)
    assert place.invoke(place.records()) == []
    place.assert_exact()
    assert place.store.checkpoints[ROOT].sequence_number == "7"
    assert 0 <= place.clock() - place.store.watermarks[ROOT].as_of <= 250


def test_dead_letter_is_kept_and_its_neighbours_count(place: Place) -> None:
    """A record that is not ours blocks nothing."""
    place.put(2)
    place.stream.put([OutRecord("b001", b"not ours")])
    place.put(2)
    assert place.invoke(place.records()) == []
    assert [record.data for record in place.store.dead_letters.values()] == [b"not ours"]
    assert stored_in(place.store).counters == recount(place.placed).counters


def test_flood_of_undecodable_records_stops_a_function(place: Place) -> None:
    """The share of undecodable records is looked at over invocations: small batches do not drain a stream of them."""
    place.stream.put([OutRecord("b001", b"not ours")] * 60)
    handler, records = place.handler(), place.records()
    for record in records[:20]:
        handler(as_event(ROOT, [record]), Invocation(place.clock))
    with pytest.raises(TooManyDeadLetters):
        handler(as_event(ROOT, records[20:21]), Invocation(place.clock))
    assert len(place.store.dead_letters) == 20
    # What failed comes again and again: that must not count against the limit.
    for _ in range(3):
        with pytest.raises(TooManyDeadLetters):
            handler(as_event(ROOT, records[20:]), Invocation(place.clock))
    assert len(place.store.dead_letters) == 20


def test_time_runs_out_between_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that is short of time stores what it has folded, and names the first record that must come again."""
    place.records_per_step = 10
    place.put(50)
    records = place.records()
    load = place.store.load_visitors

    def slow(keys: Any) -> Any:
        place.clock.advance(seconds=2)
        return load(keys)

    monkeypatch.setattr(place.store, "load_visitors", slow)
    failures = place.invoke(records, seconds=9)
    assert failures == [{"itemIdentifier": "31"}]
    assert place.store.checkpoints[ROOT].sequence_number == "30"
    assert place.invoke(records[30:], seconds=60) == []
    place.assert_exact()


def test_store_that_is_gone_fails_the_invocation(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing can be written before the time is over, the invocation fails, and the same batch counts later."""
    place.put(5)

    def gone(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "write_counters", gone)
        with pytest.raises(FlushAbandoned):
            place.invoke(place.records(), seconds=20)
    assert place.store.checkpoints == {}
    assert place.invoke(place.records()) == []
    place.assert_exact()


def test_partial_answer_only_where_lambda_reads_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ReportBatchItemFailures an answer means success: then a batch that is done in part fails as a whole."""
    place.records_per_step = 1
    place.mappings = Mappings([], False, "")
    place.put(3)
    load = place.store.load_visitors

    def slow(keys: Any) -> Any:
        place.clock.advance(seconds=8)
        return load(keys)

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "load_visitors", slow)
        with pytest.raises(LambdaRefused, match="must come again"):
            place.invoke(place.records(), seconds=15)
    assert place.invoke(place.records()) == []
    place.assert_exact()


def test_parallel_batches_are_refused_before_they_write(place: Place) -> None:
    """With ParallelizationFactor above 1 nothing wrong is stored, even where the mapping cannot be looked at: neither
    by a batch that begins while another one is under way, nor by one that comes after another has overtaken it."""
    place.put(6)
    odd, even = place.records()[0::2], place.records()[1::2]
    tried: list[str] = []

    class Meanwhile(MemoryStore):
        def write_counters(self, shard: str, writes: Any) -> Written:
            if not tried:
                tried.append("even")
                with pytest.raises(LambdaRefused, match="ParallelizationFactor"):
                    place.invoke(even)
            return super().write_counters(shard, writes)

    place.store = Meanwhile()
    assert place.invoke(odd) == []
    assert tried
    with pytest.raises(LambdaRefused, match="ParallelizationFactor"):
        place.invoke(even)
    assert differences(stored_in(place.store), recount(place.placed[0::2])) == []


def test_parallel_batch_does_not_take_over_from_a_dead_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that died half written keeps those out that lie between its records; it comes again and is counted."""
    place.put(6)
    odd, even = place.records()[0::2], place.records()[1::2]

    def die(*_: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "write_visitors", die)
        with pytest.raises(Crash):
            place.invoke(odd)
    place.clock.advance(seconds=90)
    with pytest.raises(LambdaRefused, match="at once"):
        place.invoke(even)
    assert place.invoke(odd) == []
    assert differences(stored_in(place.store), recount(place.placed[0::2])) == []


def test_claim_of_a_dead_invocation_gives_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping made anew that begins with the oldest record is held up until the dead invocation's time is over."""
    place.put(6)
    assert place.invoke(place.records()[:2]) == []

    def die(*_: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "write_visitors", die)
        with pytest.raises(Crash):
            place.invoke(place.records()[2:4], seconds=60)
    with pytest.raises(LambdaRefused):
        place.invoke(place.records())
    place.clock.advance(seconds=66)
    assert place.invoke(place.records()) == []
    place.assert_exact()


def test_claim_that_nobody_renews_gives_way_in_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping that was deleted in the middle of a batch and made anew in the middle of it is not locked out."""
    place.put(6)

    def die(*_: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "write_counters", die)
        with pytest.raises(Crash):
            place.invoke(place.records(), seconds=60)
    place.clock.advance(minutes=10)
    with pytest.raises(LambdaRefused):
        place.invoke(place.records()[3:])
    place.clock.advance(minutes=7)
    assert place.invoke(place.records()[3:]) == []
    assert differences(stored_in(place.store), recount(place.placed[3:])) == []


def test_child_waits_for_its_parents_and_closes_their_books(place: Place) -> None:
    """A child's records are refused while its parent has more; then the parent's end is stored, as a worker does it."""
    place.put(4)
    parents = place.records()
    low, high = place.stream.split(ROOT)
    place.put(20)
    assert place.invoke(parents[:2]) == []
    with pytest.raises(LambdaRefused, match="before its parent"):
        place.invoke(place.records(low), shard_id=low)
    assert place.invoke(parents[2:]) == []
    for child in (low, high):
        assert place.invoke(place.records(child), shard_id=child) == []
    assert place.store.checkpoints[ROOT].sequence_number == SHARD_END
    assert place.store.watermarks[ROOT].closed
    place.assert_exact()


# --- the mapping -----------------------------------------------------------------------------------------------------


def mapping(**changes: Any) -> dict[str, Any]:
    return {
        "UUID": "1" * 36,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ParallelizationFactor": 1,
        **changes,
    }


@pytest.mark.parametrize(
    ("found", "problem", "reports"),
    [
        ([mapping()], "", True),
        ([mapping(ParallelizationFactor=2)], "ParallelizationFactor is 2", True),
        ([mapping(TumblingWindowInSeconds=30)], "TumblingWindowInSeconds", True),
        ([mapping(FunctionResponseTypes=[])], "", False),
        ([mapping(), mapping(ParallelizationFactor=10)], "ParallelizationFactor is 10", True),
    ],
)
def test_mapping_is_looked_at(found: list[dict[str, Any]], problem: str, reports: bool) -> None:
    """What the mapping's own settings say decides: too much in parallel or a window is a problem with a remedy."""
    client = boto3.Session("a", "b", region_name="eu-central-1").client("lambda")
    with Stubber(client) as stub:
        expected = {"FunctionName": FUNCTION, "EventSourceArn": ARN}
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": found}, expected)
        mappings = check_mappings(client, FUNCTION, ARN)
    assert bool(mappings.problems) == bool(problem)
    assert problem in "".join(mappings.problems)
    assert (mappings.reports_failures, mappings.unknown) == (reports, "")


def test_mapping_that_may_not_be_read_is_unknown() -> None:
    """Without the permission nothing is assumed, least of all that Lambda reads which records failed."""
    client = boto3.Session("a", "b", region_name="eu-central-1").client("lambda")
    with Stubber(client) as stub:
        stub.add_client_error("list_event_source_mappings", "AccessDeniedException", http_status_code=403)
        mappings = check_mappings(client, FUNCTION, ARN)
    assert (mappings.problems, mappings.reports_failures) == ([], False)
    assert "AccessDenied" in mappings.unknown


def test_parallel_mapping_is_refused(place: Place) -> None:
    """The function refuses to count, says why, and has written nothing; set right, it goes on within a minute."""
    place.put(3)
    place.mappings = Mappings(["event source mapping 1: ParallelizationFactor is 2"], True, "")
    handler, event = place.handler(), as_event(ROOT, place.records())
    for _ in range(2):
        with pytest.raises(LambdaRefused, match="ParallelizationFactor is 2"):
            handler(event, Invocation(place.clock))
    assert place.store.counters == {}
    place.mappings = WELL
    assert handler(event, Invocation(place.clock)) == {"batchItemFailures": []}
    place.assert_exact()


def test_other_generation_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """After `rebuild switch` the function goes on with the first generation, and its log says so."""
    place.put()
    counter = BatchCounter(place.stream, place.store, OPTIONS, place.clock)
    handler = Handler("shop", place.stream, counter, lambda *_: WELL, place.clock, newest=lambda: 2)
    assert handler(as_event(ROOT, place.records()), Invocation(place.clock)) == {"batchItemFailures": []}
    place.assert_exact()
    assert "another generation is shown" in caplog.text


# --- events ----------------------------------------------------------------------------------------------------------


def test_event_as_in_the_documentation() -> None:
    """The event of AWS's own documentation is understood, down to the arrival time."""
    event = {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
                    "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
                "awsRegion": "us-east-2",
                "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
            }
        ]
    }
    batch = parse_event(event)
    number = "49590338271490256608559692538361571095921575989136588898"
    assert (batch.stream_name, batch.shard_id) == ("lambda-stream", "shardId-000000000006")
    assert batch.records == [Record(number, "1", b"Hello, this is a test.", 1_545_084_650_987)]


def test_consumer_of_a_stream_names_the_stream() -> None:
    """With enhanced fan-out the source is a consumer; the stream is the one it consumes."""
    consumer = f"{ARN}/consumer/count:1545084650"
    assert parse_event(as_event(ROOT, [Record("1", "a", b"x", 0)], consumer)).stream_name == "shop"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"Records": []}, "one shard"),
        ({"Records": [{"s3": {}}]}, "not an event of a Kinesis"),
        ({"httpMethod": "GET"}, "not an event of a Kinesis"),
        ({"window": {"start": "", "end": ""}, "state": {}, "Records": []}, "tumbling window"),
        (
            {
                "Records": as_event(ROOT, [Record("1", "a", b"", 0)])["Records"]
                + as_event("shardId-000000000001", [Record("1", "a", b"", 0)])["Records"]
            },
            "one shard",
        ),
        (as_event(ROOT, [Record("2", "a", b"", 0), Record("1", "a", b"", 0)]), "order"),
    ],
)
def test_events_that_cannot_be_counted_once_are_refused(event: dict[str, Any], message: str) -> None:
    """Each refusal says what is wrong."""
    with pytest.raises(LambdaRefused, match=message):
        parse_event(event)


def test_records_of_another_stream_are_refused(place: Place) -> None:
    """Marks of one stream mean nothing in another."""
    event = as_event(ROOT, [Record("1", "a", b"x", 0)], f"{ARN}-of-others")
    with pytest.raises(LambdaRefused, match="shop-of-others"):
        place.handler()(event, Invocation(place.clock))


# --- on DynamoDB's own semantics -------------------------------------------------------------------------------------


def test_function_as_lambda_starts_it(
    aws_environ: dict[str, str],
    aws: Settings,
    open_aws: Callable[[Settings], tuple[Stream, Store]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wired from the environment, the function counts into DynamoDB; the same event again changes nothing; and an
    embedded worker would go on after it."""
    for name, value in {**aws_environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    handler._handler.cache_clear()
    stream, store = open_aws(aws)
    now = system_clock()
    events = [an_event(at=now, visitor=number, event_id=number) for number in range(1, 31)]
    stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])
    arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{aws.stream_name}"
    last = {}
    for shard in stream.shards():
        iterator = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
        records = stream.read(iterator, 100).records
        last[shard.shard_id] = records[-1].sequence_number
        for _ in range(2):
            context = Invocation(FakeClock(now), 60)
            answer = handler.handler(as_event(shard.shard_id, records, arn), context)
            assert answer == {"batchItemFailures": []}
    quarter = quarter_of(now)
    totals = store.read_totals("default", quarter - 1, quarter + 1).rows
    assert sum(item.measures["pageviews"] for _, item in totals) == 30
    assert {shard: point.sequence_number for shard, point in store.load_checkpoints().items()} == last
