"""2xx only when the stream has everything; refused records are put again, alone and in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ingest.delivery.commit_batch import Placement
from ingest.delivery.group_commit import GroupCommit, Retries
from liveinsight.model.errors import StoreUnavailable, StreamUnavailable
from liveinsight.model.events import VIRTUAL_BUCKETS, decode_record, partition_key
from liveinsight.model.ids import known_visitor
from liveinsight.storage.stream import MAX_BYTES_PER_PUT, MAX_RECORD_BYTES, OutRecord, PutOutcome
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.memory_stream import MemoryStream
from tests.ingest.conftest import Payload, Service


class PickyStream(MemoryStream):
    """Refuses the records whose index in a call is listed for that call."""

    def __init__(self, refusals: Sequence[set[int]]) -> None:
        super().__init__(FakeClock())
        self.refusals = list(refusals)
        self.calls: list[list[bytes]] = []

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        self.calls.append([record.data for record in records])
        refused = self.refusals.pop(0) if self.refusals else set()
        taken = iter(super().put([record for index, record in enumerate(records) if index not in refused]))
        return [PutOutcome("", "", "Throttled") if index in refused else next(taken) for index in range(len(records))]

    def taken(self) -> list[bytes]:
        return [record.data for record in self.records()]


def users_of_distinct_buckets(count: int) -> list[str]:
    """User ids whose events go into a record each."""
    by_bucket = {partition_key(known_visitor("default", name)): name for name in (f"u{n}" for n in range(100))}
    return list(by_bucket.values())[:count]


def test_only_refused_records_are_put_again(make_service: Callable[..., Service], view: Callable[..., Payload]) -> None:
    """Nothing is put twice, and what is repeated keeps its order."""
    stream = PickyStream([{1, 3, 4}, {0, 2}])
    service = make_service(stream=stream)
    users = users_of_distinct_buckets(6)
    answer = service.post([view(user_id=user) for user in users])
    assert answer.status_code == 202
    first, second, third = stream.calls
    assert second == [first[1], first[3], first[4]]
    assert third == [second[0], second[2]]
    taken = stream.taken()
    assert sorted(taken) == sorted(first)
    assert [decode_record(data)[0].user_id for data in taken] == [users[n] for n in (0, 2, 5, 3, 1, 4)]
    assert service.time.slept == [0.05, 0.1]


def test_a_stream_that_keeps_refusing_ends_in_503(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """After the deadline the client is told to come back."""
    stream = PickyStream([{0}] * 1000)
    service = make_service(stream=stream)
    answer = service.post(view())
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "stream_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert 1 < sum(service.time.slept) <= 2
    assert stream.taken() == []


def test_one_refused_record_of_many_makes_the_request_fail(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """A part on the stream is no 2xx: the client sends all again, and repeats are recognised."""
    stream = PickyStream([{2}, *[{0}] * 1000])
    answer = make_service(stream=stream).post([view(user_id=user) for user in users_of_distinct_buckets(4)])
    assert answer.status_code == 503
    assert len(stream.taken()) == 3


def test_a_stream_that_is_down_is_503_at_once(service: Service, view: Callable[..., Payload]) -> None:
    """The client waits, not a thread of ours."""
    service.stream.down = True
    answer = service.post(view())
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "stream_unavailable")
    assert service.time.slept == []
    service.stream.down = False
    assert service.post(view()).status_code == 202


def test_without_the_days_salt_nothing_is_taken(
    service: Service, view: Callable[..., Payload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is needed for visitors without an id only; when it is down, they are told to come back."""

    def fail(*_: object) -> bytes:
        raise StoreUnavailable("down")

    monkeypatch.setattr(service.store, "salt_of_day", fail)
    answer = service.post([view(), view(user_id=None)])
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "store_unavailable")
    assert "Retry-After" in answer.headers
    assert service.events() == []
    assert service.post(view()).status_code == 202


def test_backoff_doubles_up_to_its_limit_and_uses_jitter() -> None:
    """Waits are a random part of 0.1, 0.2, 0.4, 0.4 ... seconds, and end with the deadline."""
    slept: list[float] = []
    retries = Retries(
        deadline=1.0,
        first_wait=0.1,
        longest_wait=0.4,
        sleep=slept.append,
        jitter=lambda: 0.5,
        elapsed=lambda: sum(slept),
    )
    with pytest.raises(StreamUnavailable, match="the stream has not taken all records in time"):
        GroupCommit(PickyStream([{0}] * 100), retries)([an_event()])
    assert slept == pytest.approx([0.05, 0.1, 0.2, 0.2, 0.2, 0.2])


def test_a_buckets_events_are_split_under_the_record_limit_in_order() -> None:
    """Large events of one visitor become several records, each under the limit, nothing lost."""
    stream = PickyStream([])
    events = [an_event(event_id=number + 1, props={"x": "y" * 60_000}) for number in range(23)]
    GroupCommit(stream)(events)
    records = stream.taken()
    assert len(records) > 1
    assert all(len(data) <= MAX_RECORD_BYTES for data in records)
    assert [event for data in records for event in decode_record(data)] == events


def test_visitors_of_one_bucket_share_a_record() -> None:
    """Visitors that differ by the number of buckets have one partition key."""
    stream = PickyStream([])
    events = [an_event(visitor=3, page="/1"), an_event(visitor=4, page="/2"), an_event(visitor=3 + VIRTUAL_BUCKETS)]
    GroupCommit(stream)(events)
    assert [decode_record(data) for data in stream.calls[0]] == [[events[0], events[2]], [events[1]]]


def test_one_request_may_need_several_calls() -> None:
    """An import brings more than one call takes, by bytes or by records; no pause is between the calls."""
    slept: list[float] = []
    retries = Retries(sleep=slept.append)
    stream, heavy = PickyStream([]), PickyStream([])
    # Every event is more than half of a record: each has a record of its own.
    GroupCommit(stream, retries)([an_event(visitor=n, title="x" * 140_000) for n in range(100)])
    assert len(stream.calls) == 3
    assert all(sum(map(len, call)) <= MAX_BYTES_PER_PUT for call in stream.calls)
    assert sum(map(len, stream.calls)) == 100
    GroupCommit(heavy, retries)([an_event(event_id=n + 1, title="x" * 8_000) for n in range(1000)])
    assert [len(call) for call in heavy.calls] == [20, 12]
    assert slept == []


@pytest.mark.parametrize("refusals", [[], [{0}, {1}, {0}]])
def test_placements_say_where_each_event_is(refusals: list[set[int]]) -> None:
    """Shard, record and index, in the order of the events, whatever was refused on the way."""
    stream = PickyStream(refusals)
    events = [an_event(event_id=n + 1, visitor=n % 3, title="x" * 60_000) for n in range(20)]
    placements = GroupCommit(stream, Retries(sleep=lambda _: None))(events, locate=True)
    found = {
        Placement(shard_id, record.sequence_number, index): event
        for shard_id, _ in stream.shards()
        for record in stream.records(shard_id)
        for index, event in enumerate(decode_record(record.data))
    }
    assert [found[placement] for placement in placements] == events
    assert len(found) == len(events)
