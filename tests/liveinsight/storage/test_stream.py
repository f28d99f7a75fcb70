"""What every stream promises, held against the in-memory one, SQLite, MiniStack and kinesis-mock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from liveinsight.aws.clients import kinesis_client
from liveinsight.aws.kinesis import KinesisStream
from liveinsight.bootstrap import initialise
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.storage.stream import OutRecord, Record, StartAt, Stream
from liveinsight.testing.builders import FakeClock, MemoryStream
from liveinsight.wiring import open_stream


@pytest.fixture(params=["memory", "sqlite", "ministack", pytest.param("kinesis-mock", marks=pytest.mark.emulator)])
def any_stream(request: pytest.FixtureRequest, clock: FakeClock) -> Stream:
    if request.param == "memory":
        return MemoryStream(clock, shards=2)
    if request.param == "sqlite":
        return open_stream(request.getfixturevalue("on_sqlite"))
    environ = request.getfixturevalue("aws_environ")
    if request.param == "kinesis-mock":
        environ = {**environ, "AWS_ENDPOINT_URL_KINESIS": request.getfixturevalue("kinesis_mock").url}
    settings = Settings.from_env(environ)
    initialise(settings)
    stream: Stream = request.getfixturevalue("open_aws")(settings)[0]
    return stream


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


class Resharding(NamedTuple):
    """A stream of one shard, and how to split and merge shards of it."""

    stream: Stream
    split: Callable[[str], object]
    merge: Callable[[str, str], object]


@pytest.fixture(params=["memory", pytest.param("kinesis-mock", marks=pytest.mark.emulator)])
def resharding(request: pytest.FixtureRequest, clock: FakeClock) -> Resharding:
    """MiniStack is not among them: it drops a closed shard together with its unread records."""
    if request.param == "memory":
        memory = MemoryStream(clock, shards=1)
        return Resharding(memory, memory.split, memory.merge)
    urls = {"AWS_ENDPOINT_URL_KINESIS": request.getfixturevalue("kinesis_mock").url, "LIVEINSIGHT_SHARDS": "1"}
    settings = Settings.from_env({**request.getfixturevalue("aws_environ"), **urls})
    initialise(settings)
    client, name = kinesis_client(settings), settings.stream_name

    def wait_until_active() -> None:
        while client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            time.sleep(0.01)

    def split(shard_id: str) -> None:
        client.split_shard(StreamName=name, ShardToSplit=shard_id, NewStartingHashKey=str(2**127))
        wait_until_active()

    def merge(shard_id: str, adjacent: str) -> None:
        client.merge_shards(StreamName=name, ShardToMerge=shard_id, AdjacentShardToMerge=adjacent)
        wait_until_active()

    return Resharding(KinesisStream(client, name), split, merge)


def test_resharding_keeps_records_and_lineage(resharding: Resharding) -> None:
    """After a split records go to the children; parents read to their end say so; a merge has two parents."""
    stream = resharding.stream
    (root,) = stream.shards()
    (first,) = stream.put([OutRecord("b001", b"old")])
    resharding.split(root.shard_id)
    low, high = (shard for shard in stream.shards() if shard.parents == (root.shard_id,))
    (outcome,) = stream.put([OutRecord("b001", b"new")])
    assert outcome.shard_id in {low.shard_id, high.shard_id}
    batch = stream.read(stream.iterator(root.shard_id, after=None, start=StartAt.TRIM_HORIZON), 10)
    assert ([record.data for record in batch.records], batch.next_iterator) == ([b"old"], None)
    resumed = stream.read(stream.iterator(root.shard_id, after=first.sequence_number, start=StartAt.LATEST), 10)
    assert (resumed.records, resumed.next_iterator) == ([], None)
    resharding.merge(low.shard_id, high.shard_id)
    (merged,) = (shard for shard in stream.shards() if len(shard.parents) == 2)
    assert merged.parents == (low.shard_id, high.shard_id)
    (last,) = stream.put([OutRecord("b001", b"newest")])
    assert last.shard_id == merged.shard_id
