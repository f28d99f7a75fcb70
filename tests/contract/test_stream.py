"""What every stream promises, held against the in-memory one and Kinesis semantics over HTTP."""

from __future__ import annotations

import pytest

from liveinsight.errors import LiveInsightError
from liveinsight.stream import OutRecord, Record, StartAt, Stream
from liveinsight.testing import FakeClock, MemoryStream


@pytest.fixture(params=["memory", "standin"])
def any_stream(request: pytest.FixtureRequest, clock: FakeClock) -> Stream:
    if request.param == "memory":
        return MemoryStream(clock, shards=2)
    return request.getfixturevalue("open_aws")(request.getfixturevalue("aws"))[0]


def read_all(stream: Stream, shard_id: str, after: str | None = None) -> list[Record]:
    iterator: str | None = stream.iterator(shard_id, after=after, start=StartAt.TRIM_HORIZON)
    records: list[Record] = []
    while iterator is not None:
        batch = stream.read(iterator, 3)
        records.extend(batch.records)
        iterator = batch.next_iterator if batch.records else None
    return records


def test_records_of_a_key_come_back_in_order(any_stream: Stream) -> None:
    """Records of one partition key are on one shard, in order, and each is told where it went."""
    outcomes = any_stream.put([OutRecord("b001", bytes([number])) for number in range(10)])
    assert {outcome.error for outcome in outcomes} == {""}
    (shard_id,) = {outcome.shard_id for outcome in outcomes}
    records = read_all(any_stream, shard_id)
    assert [record.data for record in records] == [bytes([number]) for number in range(10)]
    assert [record.sequence_number for record in records] == [outcome.sequence_number for outcome in outcomes]


def test_reading_goes_on_after_a_sequence_number(any_stream: Stream) -> None:
    """An iterator after a sequence number gives the next record first."""
    outcomes = any_stream.put([OutRecord("b001", bytes([number])) for number in range(5)])
    records = read_all(any_stream, outcomes[0].shard_id, after=outcomes[2].sequence_number)
    assert [record.data for record in records] == [b"\x03", b"\x04"]


def test_latest_leaves_out_what_is_there(any_stream: Stream) -> None:
    """An iterator at LATEST gives only what is put afterwards."""
    (first,) = any_stream.put([OutRecord("b001", b"before")])
    iterator = any_stream.iterator(first.shard_id, after=None, start=StartAt.LATEST)
    any_stream.put([OutRecord("b001", b"after")])
    assert [record.data for record in any_stream.read(iterator, 10).records] == [b"after"]


def test_keys_spread_over_all_shards(any_stream: Stream) -> None:
    """The virtual buckets reach every shard."""
    outcomes = any_stream.put([OutRecord(f"b{number:03d}", b"x") for number in range(256)])
    assert {outcome.shard_id for outcome in outcomes} == {shard.shard_id for shard in any_stream.shards()}


def test_incarnation_is_stable(any_stream: Stream) -> None:
    """The incarnation is the same at every call, and a plausible time."""
    assert any_stream.incarnation() == any_stream.incarnation() > 1_700_000_000_000


def test_unknown_shard_is_an_error(any_stream: Stream) -> None:
    """A shard that does not exist is no empty shard."""
    with pytest.raises((LiveInsightError, KeyError)):
        any_stream.iterator("shardId-000000000099", after=None, start=StartAt.LATEST)


def test_memory_stream_reshards(clock: FakeClock) -> None:
    """After a split records go to the children; parents read to their end say so; a merge has two parents."""
    stream = MemoryStream(clock, shards=1)
    stream.put([OutRecord("b001", b"old")])
    low, high = stream.split("shardId-000000000000")
    (outcome,) = stream.put([OutRecord("b001", b"new")])
    assert outcome.shard_id in {low, high}
    batch = stream.read(stream.iterator("shardId-000000000000", after=None, start=StartAt.TRIM_HORIZON), 10)
    assert (batch.records[0].data, batch.next_iterator) == (b"old", None)
    merged = stream.merge(low, high)
    assert [shard.parents for shard in stream.shards() if shard.shard_id == merged] == [(low, high)]
