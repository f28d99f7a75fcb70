"""Requests that wait together share calls; each is answered when its own records are on the stream, and not before."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from ingest.delivery.commit_batch import CommitBatch, Ticket, WaitingLine, wake_in_turn
from ingest.delivery.group_commit import GroupCommit, Pace, QueueFull, Retries
from ingest.delivery.observed_stream import ObservedStream, StreamMisconfigured
from liveinsight.model.errors import LiveInsightError, StreamRefused, StreamUnavailable
from liveinsight.model.events import VIRTUAL_BUCKETS, Event, decode_record
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.storage.stream import (
    MAX_BYTES_PER_PUT,
    MAX_RECORD_BYTES,
    MAX_RECORDS_PER_PUT,
    OutRecord,
    PutOutcome,
    Sink,
)
from liveinsight.testing.builders import an_event

PATIENCE = 10.0
QUICK = Retries(deadline=2.0, first_wait=0.001, longest_wait=0.004)


class ScriptedStream:
    """Calls wait for `gate`, then do what `answer` says: True takes a record."""

    def __init__(self, answer: Callable[[int, OutRecord], bool] = lambda call, record: True) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.answer = answer
        self.error: LiveInsightError | None = None
        self.calls: list[list[OutRecord]] = []
        self.taken: list[OutRecord] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        with self._lock:
            number = len(self.calls)
            self.calls.append(list(records))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.begun.release()
        assert self.gate.wait(PATIENCE)
        with self._lock:
            self._at_once -= 1
            if self.error:
                raise self.error
            verdicts = [self.answer(number, record) for record in records]
            self.taken += [record for record, good in zip(records, verdicts, strict=True) if good]
        return [PutOutcome("s", "1", "") if good else PutOutcome("", "", "Throttled") for good in verdicts]

    def events(self) -> list[Event]:
        return [event for record in self.taken for event in decode_record(record.data)]


class MeasuredCommit(GroupCommit):
    """A group commit and what it has measured."""

    def __init__(self, stream: Sink, pace: Pace, retries: Retries) -> None:
        self.metrics = IngestMetrics()
        super().__init__(ObservedStream(stream, self.metrics, retries.elapsed), retries, pace, self.metrics)


def commit_to(stream: ScriptedStream, pace: Pace | None = None, retries: Retries = QUICK) -> MeasuredCommit:
    return MeasuredCommit(stream, pace or Pace(), retries)


def value(commit: MeasuredCommit, name: str) -> float:
    """What /metrics would say."""
    for line in commit.metrics.render().decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(name)


def waiting(commit: GroupCommit, count: int) -> None:
    """Return when so many requests wait."""
    tick = threading.Event()
    for _ in range(2000):
        if commit.requests == count:
            return
        tick.wait(0.005)
    raise AssertionError(f"{commit.requests} requests wait, not {count}")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def test_a_lone_request_goes_out_at_once_and_alone() -> None:
    """No linger when idle: its thread makes the call, and others are not waited for."""
    stream = ScriptedStream()
    commit = commit_to(stream, Pace(linger=PATIENCE))
    began = time.monotonic()
    for number in range(3):
        commit([an_event(event_id=number + 1)])
    assert time.monotonic() - began < PATIENCE
    assert [len(call) for call in stream.calls] == [1, 1, 1]


def test_requests_that_wait_together_share_calls_and_records(threads: ThreadPoolExecutor) -> None:
    """While one call is under way the others gather: one more call, and a record for each virtual bucket."""
    stream = ScriptedStream()
    commit = commit_to(stream, Pace(linger=PATIENCE))
    stream.gate.clear()
    first = threads.submit(commit, [an_event(event_id=1)])
    assert stream.begun.acquire(timeout=PATIENCE)
    others = [
        threads.submit(commit, [an_event(event_id=10 + n, visitor=n % 3 + VIRTUAL_BUCKETS * n)]) for n in range(12)
    ]
    waiting(commit, 13)
    stream.gate.set()
    for future in (first, *others):
        assert future.result(PATIENCE) == []
    assert [len(call) for call in stream.calls] == [1, 3]
    assert [len(decode_record(record.data)) for record in stream.calls[1]] == [4, 4, 4]
    assert sorted(event.event_id for event in stream.events()) == [1, *range(10, 22)]


def test_all_who_wait_for_a_call_are_woken_by_it(threads: ThreadPoolExecutor) -> None:
    """Threads wake each other in a row; nobody waits until patience is at its end, which is far away here."""
    stream = ScriptedStream()
    commit = commit_to(stream, Pace(linger=PATIENCE), Retries(60, 0.001, 0.004))
    stream.gate.clear()
    first = threads.submit(commit, [an_event(event_id=1)])
    assert stream.begun.acquire(timeout=PATIENCE)
    others = [threads.submit(commit, [an_event(event_id=10 + n, visitor=n)]) for n in range(40)]
    waiting(commit, 41)
    stream.gate.set()
    for future in (first, *others):
        assert future.result(PATIENCE) == []


def test_who_went_before_being_woken_does_not_keep_others_asleep() -> None:
    """Only tickets that still wait are in the row, and each wakes the next one."""
    tickets = [Ticket([an_event(event_id=n + 1)]) for n in range(7)]
    gone = tickets[3]
    gone.gone = True
    wake_in_turn(tickets)
    row = []
    awake = [ticket for ticket in tickets if ticket.woken]
    while awake:
        ticket = awake.pop(0)
        row.append(ticket)
        if ticket.following:
            awake.append(ticket.following)
    assert row == [ticket for ticket in tickets if ticket is not gone]


def test_a_request_waits_for_its_own_records_only(threads: ThreadPoolExecutor) -> None:
    """One record is refused for a while: who has no part in it is answered, who has one is not, until it is taken."""
    refuse = threading.Event()
    refuse.set()
    stream = ScriptedStream(lambda call, record: record.partition_key != "b002" or not refuse.is_set())
    commit = commit_to(stream, Pace(linger=PATIENCE, calls=2), Retries(60, 0.001, 0.004))
    stream.gate.clear()
    first = threads.submit(commit, [an_event(event_id=1)])
    assert stream.begun.acquire(timeout=PATIENCE)
    # The head of the queue makes the call; it has no part in the refused record and does not wait for it.
    good = threads.submit(commit, [an_event(event_id=2, visitor=5)])
    waiting(commit, 2)
    bad = [threads.submit(commit, [an_event(event_id=3 + n, visitor=2 + n)]) for n in range(2)]
    both = threads.submit(commit, [an_event(event_id=8, visitor=2), an_event(event_id=9, visitor=7)])
    waiting(commit, 5)
    stream.gate.set()
    assert first.result(PATIENCE) == []
    assert good.result(PATIENCE) == []
    assert bad[1].result(PATIENCE) == []
    assert not bad[0].done()
    assert not both.done()
    refuse.clear()
    assert bad[0].result(PATIENCE) == []
    assert both.result(PATIENCE) == []
    # What is put again is the refused record alone.
    assert {tuple(record.partition_key for record in call) for call in stream.calls[2:]} == {("b002",)}
    assert Counter(event.event_id for event in stream.events()) == Counter([1, 2, 3, 4, 8, 9])
    assert value(commit, "liveinsight_ingest_put_records_retried_records_total") >= 1


def test_a_record_that_is_refused_to_the_end_fails_all_who_have_a_part_in_it(threads: ThreadPoolExecutor) -> None:
    """After the deadline they are told to come back; the others have been answered long before."""
    stream = ScriptedStream(lambda call, record: record.partition_key != "b002")
    commit = commit_to(stream, Pace(linger=PATIENCE), Retries(0.3, 0.01, 0.02))
    stream.gate.clear()
    first = threads.submit(commit, [an_event(event_id=1)])
    assert stream.begun.acquire(timeout=PATIENCE)
    futures = [threads.submit(commit, [an_event(event_id=2 + n, visitor=1 + n % 2)]) for n in range(6)]
    waiting(commit, 7)
    stream.gate.set()
    assert first.result(PATIENCE) == []
    failed = [future.exception(PATIENCE) for future in futures]
    assert [type(error) for error in failed[1::2]] == [StreamUnavailable] * 3
    assert failed[::2] == [None] * 3
    assert {event.event_id for event in stream.events()} == {1, 2, 4, 6}
    waiting(commit, 0)
    commit([an_event(event_id=99)])


@pytest.mark.parametrize(
    ("error", "told"),
    [(StreamUnavailable("down"), StreamUnavailable), (StreamRefused("access denied"), StreamMisconfigured)],
)
def test_a_call_that_fails_fails_all_who_share_it_at_once(
    threads: ThreadPoolExecutor, error: Any, told: Callable[..., Any]
) -> None:
    """Each with an error of its own; the next request is tried anew."""
    stream = ScriptedStream()
    commit = commit_to(stream, Pace(linger=PATIENCE))
    stream.gate.clear()
    stream.error = error
    futures = [threads.submit(commit, [an_event(event_id=1)])]
    assert stream.begun.acquire(timeout=PATIENCE)
    futures += [threads.submit(commit, [an_event(event_id=2 + n)]) for n in range(5)]
    waiting(commit, 6)
    stream.gate.set()
    errors = [future.exception(PATIENCE) for future in futures]
    assert [type(one) for one in errors] == [told] * 6
    assert len({id(one) for one in errors}) == 6
    assert len(stream.calls) == 2
    stream.error = None
    commit([an_event(event_id=10)])
    assert [event.event_id for event in stream.events()] == [10]


def test_past_the_bound_requests_are_turned_away_at_once(threads: ThreadPoolExecutor) -> None:
    """By count and by bytes; those that wait are served, and then there is room again."""
    for pace in (Pace(waiting_requests=8, calls=2), Pace(waiting_bytes=8 * 20_000, calls=2)):
        stream = ScriptedStream()
        commit = commit_to(stream, pace, Retries(PATIENCE))
        stream.gate.clear()
        futures = [
            threads.submit(commit, [an_event(event_id=n + 1, title="x" * 20_000, page_url="")]) for n in range(8)
        ]
        waiting(commit, 8)
        assert commit.full
        with pytest.raises(QueueFull):
            commit([an_event(event_id=9)])
        assert value(commit, "liveinsight_ingest_waiting_requests") == 8
        stream.gate.set()
        assert [future.result(PATIENCE) for future in futures] == [[]] * 8
        commit([an_event(event_id=9)])
        assert len(stream.events()) == 9
        assert value(commit, "liveinsight_ingest_waiting_bytes") == 0


def test_a_hanging_stream_holds_nobody_longer_than_the_deadline(threads: ThreadPoolExecutor) -> None:
    """Who waits in vain is told so in time; what waited in the queue is not put when nobody waits any more."""
    stream = ScriptedStream()
    commit = commit_to(stream, Pace(calls=2), Retries(0.2))
    stream.gate.clear()
    hanging = [threads.submit(commit, [an_event(event_id=n + 1)]) for n in range(2)]
    for _ in hanging:
        assert stream.begun.acquire(timeout=PATIENCE)
    queued = [threads.submit(commit, [an_event(event_id=n + 10)]) for n in range(10)]
    assert [type(future.exception(PATIENCE)) for future in queued] == [StreamUnavailable] * 10
    stream.gate.set()
    assert [future.result(PATIENCE) for future in hanging] == [[], []]
    commit([an_event(event_id=99)])
    assert sorted(event.event_id for event in stream.events()) == [1, 2, 99]


def test_there_are_never_more_calls_at_once_than_allowed(threads: ThreadPoolExecutor) -> None:
    """However many requests come, and all of them are served."""
    stream = ScriptedStream(lambda call, record: not threading.Event().wait(0.002))
    commit = commit_to(stream, Pace(calls=3, linger=0.0005))
    futures = [threads.submit(commit, [an_event(event_id=n + 1, visitor=n)]) for n in range(600)]
    assert all(future.result(PATIENCE) == [] for future in futures)
    assert stream.most_at_once <= 3
    assert sorted(event.event_id for event in stream.events()) == list(range(1, 601))


def test_random_faults_never_make_it_claim_what_the_stream_has_not(
    threads: ThreadPoolExecutor, rng: random.Random
) -> None:
    """Refusals of records, failures of calls, bugs: each event that was acknowledged to us is on the stream."""

    class Unreliable(ScriptedStream):
        calm = False

        def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
            threading.Event().wait(rng.random() / 300)
            fate = 1.0 if self.calm else rng.random()
            if fate < 0.05:
                raise StreamUnavailable("before")
            outcomes = super().put(records)
            if fate < 0.1:
                raise StreamUnavailable("after")
            if fate < 0.12:
                raise KeyError("a bug")
            return outcomes

    stream = Unreliable(lambda call, record: stream.calm or rng.random() > 0.3)
    commit = commit_to(stream, Pace(calls=4, linger=0.001), Retries(0.25, 0.002, 0.02))

    def request(number: int) -> set[int]:
        ids = {number * 10 + n for n in range(1, 1 + number % 4)} or {number * 10 + 5}
        commit([an_event(event_id=one, visitor=one * 31 % 40) for one in ids])
        return ids

    futures: list[Future[set[int]]] = [threads.submit(request, number) for number in range(1500)]
    claimed: set[int] = set()
    failures: Counter[type] = Counter()
    for future in futures:
        error = future.exception(PATIENCE)
        if error is None:
            claimed |= future.result()
        failures[type(error)] += 1
    on_stream = {event.event_id for event in stream.events()}
    assert claimed <= on_stream
    assert set(failures) <= {type(None), StreamUnavailable, KeyError}
    assert failures[type(None)] > 200
    waiting(commit, 0)
    stream.calm = True
    assert request(1500) <= {event.event_id for event in stream.events()}


def test_a_batch_never_exceeds_what_one_call_takes(rng: random.Random) -> None:
    """Random tickets: at most 500 records and 5 MB, each record under its limit, order kept within a bucket."""
    for _ in range(20):
        line = WaitingLine()
        size = rng.choice([10, 2_000, 60_000, 150_000])
        sent: list[Event] = []
        for _ in range(rng.randrange(1, 120)):
            events = [
                an_event(
                    event_id=rng.randrange(1, 1 << 62), visitor=rng.randrange(300), title="x" * rng.randrange(size)
                )
                for _ in range(rng.randrange(1, 30 if size < 60_000 else 3))
            ]
            sent += events
            line.append(Ticket(events))
        arrived: list[Event] = []
        while line:
            records = CommitBatch(line.take()).records
            assert len(records) <= MAX_RECORDS_PER_PUT
            assert sum(len(data) + len(key) for key, data in records) <= MAX_BYTES_PER_PUT
            assert all(len(data) <= MAX_RECORD_BYTES for _, data in records)
            arrived += [event for record in records for event in decode_record(record.data)]
        assert sorted(event.event_id for event in arrived) == sorted(event.event_id for event in sent)
        for bucket in range(VIRTUAL_BUCKETS):
            assert [e.event_id for e in arrived if e.visitor % VIRTUAL_BUCKETS == bucket] == [
                e.event_id for e in sent if e.visitor % VIRTUAL_BUCKETS == bucket
            ]
