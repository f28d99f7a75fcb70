"""Single invocations of the Lambda function: what it stores, what it answers, and what it refuses to count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from liveinsight.aws.lambda_mapping import Mappings
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import FlushAbandoned, StoreUnavailable, TooManyDeadLetters
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import SHARD_END, Store, Written
from liveinsight.storage.stream import OutRecord, Record, StartAt, Stream
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from processor.aws_lambda import handler
from processor.aws_lambda.event import LambdaRefused
from tests.processor.aws_lambda.lambda_service import ARN, ROOT, WELL, Function, Invocation, as_event


@pytest.fixture
def function(clock: FakeClock) -> Function:
    return Function(clock)


# --- counting --------------------------------------------------------------------------------------------------------


def test_a_batch_is_stored_when_the_answer_comes(function: Function) -> None:
    """Counters, visitors, checkpoint and watermark are all there, and no record is named as failed."""
    function.put(7)
    assert function.invoke(function.records()) == []
    assert function.wrong() == []
    assert function.checkpoint() == "7"
    assert 0 <= function.clock() - function.store.watermarks[ROOT].as_of <= 250


def test_other_generation_is_logged(function: Function, caplog: pytest.LogCaptureFixture) -> None:
    """After `rebuild switch` the function goes on with the first generation, and its log says so."""
    function.put()
    container = function.container(newest=lambda: 2)
    assert container(as_event(ROOT, function.records()), Invocation(function.clock)) == {"batchItemFailures": []}
    assert function.wrong() == []
    assert "another generation is shown" in caplog.text


# --- records that cannot be decoded ----------------------------------------------------------------------------------


def test_dead_letter_is_kept_and_its_neighbours_count(function: Function) -> None:
    """A record that is not ours blocks nothing."""
    function.put(2)
    function.put_undecodable()
    function.put(2)
    assert function.invoke(function.records()) == []
    assert [record.data for record in function.store.dead_letters.values()] == [b"not ours"]
    assert not function.wrong_counters()


def test_flood_of_undecodable_records_stops_a_function(function: Function) -> None:
    """The share of undecodable records is looked at over invocations: small batches do not drain a stream of them."""
    function.put_undecodable(60)
    container, records = function.container(), function.records()
    for record in records[:20]:
        container(as_event(ROOT, [record]), Invocation(function.clock))
    with pytest.raises(TooManyDeadLetters):
        container(as_event(ROOT, records[20:21]), Invocation(function.clock))
    assert len(function.store.dead_letters) == 20
    # What failed comes again and again: that must not count against the limit.
    for _ in range(3):
        with pytest.raises(TooManyDeadLetters):
            container(as_event(ROOT, records[20:]), Invocation(function.clock))
    assert len(function.store.dead_letters) == 20


# --- time that runs out ----------------------------------------------------------------------------------------------


def test_time_runs_out_between_parts(function: Function) -> None:
    """A function that is short of time stores what it has folded, and names the first record that must come again."""
    function.records_per_step = 10
    function.put(50)
    records = function.records()
    with function.slow_store(seconds=2):
        assert function.invoke(records, seconds=9) == ["31"]
        assert function.checkpoint() == "30"
        assert function.invoke(records[30:]) == []
    assert function.wrong() == []


def test_store_that_is_gone_fails_the_invocation(function: Function) -> None:
    """When nothing can be written before the time is over, the invocation fails, and the same batch counts later."""
    function.put(5)
    with function.failing_store("write_counters", StoreUnavailable), pytest.raises(FlushAbandoned):
        function.invoke(function.records(), seconds=20)
    assert function.checkpoint() == ""
    assert function.invoke(function.records()) == []
    assert function.wrong() == []


def test_partial_answer_only_where_lambda_reads_it(function: Function) -> None:
    """Without ReportBatchItemFailures an answer means success: then a batch that is done in part fails as a whole."""
    function.mappings = Mappings([], False, "")
    function.records_per_step = 1
    function.put(3)
    with function.slow_store(seconds=8), pytest.raises(LambdaRefused, match="must come again"):
        function.invoke(function.records(), seconds=15)
    assert function.invoke(function.records()) == []
    assert function.wrong() == []


# --- batches of one shard at the same time ---------------------------------------------------------------------------


def test_parallel_batches_are_refused_before_they_write(function: Function) -> None:
    """With ParallelizationFactor above 1 nothing wrong is stored, even where the mapping cannot be looked at: neither
    by a batch that begins while another one is under way, nor by one that comes after another has overtaken it."""
    function.put(6)
    odd, even = function.records()[0::2], function.records()[1::2]
    under_way: list[str] = []

    class Meanwhile(MemoryStore):
        def write_counters(self, shard: str, writes: Any) -> Written:
            if not under_way:
                under_way.append("odd")
                with pytest.raises(LambdaRefused, match="ParallelizationFactor"):
                    function.invoke(even)
            return super().write_counters(shard, writes)

    function.store = Meanwhile()
    assert function.invoke(odd) == []
    assert under_way
    with pytest.raises(LambdaRefused, match="ParallelizationFactor"):
        function.invoke(even)
    assert function.wrong(slice(0, None, 2)) == []


def test_parallel_batch_does_not_take_over_from_a_dead_one(function: Function) -> None:
    """A batch that died half written keeps those out that lie between its records; it comes again and is counted."""
    function.put(6)
    odd, even = function.records()[0::2], function.records()[1::2]
    function.die_before("write_visitors", odd)
    function.clock.advance(seconds=90)
    with pytest.raises(LambdaRefused, match="at once"):
        function.invoke(even)
    assert function.invoke(odd) == []
    assert function.wrong(slice(0, None, 2)) == []


def test_claim_of_a_dead_invocation_gives_way(function: Function) -> None:
    """A mapping made anew that begins with the oldest record is held up until the dead invocation's time is over."""
    function.put(6)
    records = function.records()
    assert function.invoke(records[:2]) == []
    function.die_before("write_visitors", records[2:4])
    with pytest.raises(LambdaRefused):
        function.invoke(records)
    function.clock.advance(seconds=66)
    assert function.invoke(records) == []
    assert function.wrong() == []


def test_claim_that_nobody_renews_gives_way_in_the_end(function: Function) -> None:
    """A mapping that was deleted in the middle of a batch and made anew in the middle of it is not locked out."""
    function.put(6)
    records = function.records()
    function.die_before("write_counters", records)
    function.clock.advance(minutes=10)
    with pytest.raises(LambdaRefused):
        function.invoke(records[3:])
    function.clock.advance(minutes=7)
    assert function.invoke(records[3:]) == []
    assert function.wrong(slice(3, None)) == []


def test_child_waits_for_its_parent_and_stores_its_end(function: Function) -> None:
    """A child's records are refused while its parent has more; then the parent's end is stored, as a worker does it."""
    function.put(4)
    of_parent = function.records()
    low, high = function.stream.split(ROOT)
    function.put(20)
    assert function.invoke(of_parent[:2]) == []
    with pytest.raises(LambdaRefused, match="not read to its end yet"):
        function.invoke(function.records(low), shard_id=low)
    assert function.invoke(of_parent[2:]) == []
    for child in (low, high):
        assert function.invoke(function.records(child), shard_id=child) == []
    assert function.checkpoint() == SHARD_END
    assert function.store.watermarks[ROOT].closed
    assert function.wrong() == []


# --- what is refused as a whole --------------------------------------------------------------------------------------


def test_parallel_mapping_is_refused(function: Function) -> None:
    """The function refuses to count, says why, and has written nothing; set right, it goes on within a minute."""
    function.put(3)
    function.mappings = Mappings(["event source mapping 1: ParallelizationFactor is 2"], True, "")
    container, event = function.container(), as_event(ROOT, function.records())
    for _ in range(2):
        with pytest.raises(LambdaRefused, match="ParallelizationFactor is 2"):
            container(event, Invocation(function.clock))
    assert function.store.counters == {}
    function.mappings = WELL
    assert container(event, Invocation(function.clock)) == {"batchItemFailures": []}
    assert function.wrong() == []


def test_records_of_another_stream_are_refused(function: Function) -> None:
    """Marks of one stream mean nothing in another."""
    event = as_event(ROOT, [Record("1", "a", b"x", 0)], f"{ARN}-of-others")
    with pytest.raises(LambdaRefused, match="shop-of-others"):
        function.container()(event, Invocation(function.clock))


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
    handler.configured_handler.cache_clear()
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
