"""The embedded worker: lineage, checkpoints, draining, dead letters, a stream and a store that fail for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import FlushAbandoned, StoreUnavailable
from liveinsight.model.events import encode_record, partition_key
from liveinsight.storage.store import SHARD_END, Checkpoint, Store, Watermark
from liveinsight.storage.stream import OutRecord, RecordBatch, Shard, StartAt, Stream
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.testing.builders import an_event
from liveinsight.testing.expected import dead_letters_in
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from processor.embedded.shard_threads import Assignment, ShardThreads
from processor.embedded.worker import Worker, ready_shards, start_of
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

QUICK = ProcessorOptions(counters_interval=0.05, sessions_interval=0.1, give_up_after=0.5, drain_within=0.5)
ROOT = "shardId-000000000000"


def make_worker(
    stream: Stream, store: Store, *, start_at: StartAt = StartAt.TRIM_HORIZON, refresh_seconds: float = 10
) -> Worker:
    threads = ShardThreads(
        stream,
        store,
        lambda incarnation: RecordProcessor(store, incarnation, QUICK, system_clock),
        poll_interval=0.05,
    )
    return Worker(stream, store, threads, start_at=start_at, refresh_seconds=refresh_seconds)


@contextmanager
def running(worker: Worker) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.02)


def put(stream: Stream, first: int, last: int) -> None:
    now = system_clock()
    events = [an_event(at=now, visitor=number, event_id=number) for number in range(first, last)]
    stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])


def views(store: Store) -> int:
    quarter = quarter_of(system_clock())
    rows = store.read_totals("default", quarter - 2, quarter).rows
    return sum(item.measures.get("pageviews", 0) for _, item in rows)


@pytest.fixture
def live_stream() -> MemoryStream:
    return MemoryStream(system_clock, shards=1)


def test_children_wait_for_their_parents() -> None:
    """A shard is ready when all parents that still exist have ended."""
    shards = [Shard("p1", ("gone",)), Shard("p2", ()), Shard("c", ("p1", "p2"))]
    assert [shard.shard_id for shard in ready_shards(shards, set(), set())] == ["p1", "p2"]
    assert [shard.shard_id for shard in ready_shards(shards, {"p1"}, {"p1", "p2"})] == []
    assert [shard.shard_id for shard in ready_shards(shards, {"p1", "p2"}, {"p1", "p2"})] == ["c"]


def test_child_of_a_known_parent_starts_at_its_beginning() -> None:
    """LATEST is for a first start only: a child of a shard that was read leaves nothing out."""
    child = Shard("c", ("p",))
    assert start_of(child, {"p": Checkpoint(1, SHARD_END)}, StartAt.LATEST) is StartAt.TRIM_HORIZON
    assert start_of(child, {}, StartAt.LATEST) is StartAt.LATEST


def test_split_and_merge_under_way(live_stream: MemoryStream, store: MemoryStore) -> None:
    """Records before, between and after a split and a merge are all counted, once."""
    with running(make_worker(live_stream, store)):
        put(live_stream, 1, 50)
        low, high = live_stream.split(ROOT)
        put(live_stream, 50, 100)
        eventually(lambda: views(store) == 99)
        live_stream.merge(low, high)
        put(live_stream, 100, 150)
        eventually(lambda: views(store) == 149)
    ended = [s for s, point in store.load_checkpoints().items() if point.sequence_number == SHARD_END]
    assert sorted(ended) == [ROOT, low, high]


def test_stop_drains(live_stream: MemoryStream, store: MemoryStore) -> None:
    """After a stop everything read is written and checkpointed, so a second worker reads nothing again."""
    put(live_stream, 1, 31)
    slow = ProcessorOptions(counters_interval=60, sessions_interval=60)
    threads = ShardThreads(
        live_stream, store, lambda incarnation: RecordProcessor(store, incarnation, slow, system_clock)
    )
    first = Worker(live_stream, store, threads)
    with running(first):
        eventually(lambda: first.progress.events == 30)
    assert views(store) == 30
    second = make_worker(live_stream, store)
    with running(second):
        put(live_stream, 31, 32)
        eventually(lambda: views(store) == 31)
    assert second.progress.records == 1


def test_shards_that_have_not_begun_hold_back_what_is_claimed(store: MemoryStore) -> None:
    """Until the first flush of each shard nothing is said about all of them together."""
    stream = MemoryStream(system_clock, shards=2)
    begun: list[Assignment] = []

    class Idle(ShardThreads):
        def begin(self, assignment: Assignment) -> None:
            begun.append(assignment)

    idle = Idle(stream, store, lambda incarnation: RecordProcessor(store, incarnation, QUICK, system_clock))
    with running(Worker(stream, store, idle)):
        eventually(lambda: len(begun) == 2)
    store.write_watermark(Watermark(ROOT, 5, False, stream.incarnation()))
    assert len(store.watermarks) == 2
    assert freshest_possible(store.watermarks.values()) is None


def test_latest_leaves_history_out(live_stream: MemoryStream, store: MemoryStore) -> None:
    """A first start at LATEST counts only what comes afterwards."""
    put(live_stream, 1, 11)
    worker = make_worker(live_stream, store, start_at=StartAt.LATEST)
    with running(worker):
        eventually(lambda: any(mark.as_of for mark in store.watermarks.values()))
        put(live_stream, 11, 14)
        eventually(lambda: views(store) == 3)


def test_dead_letter_is_kept_and_its_neighbours_count(live_stream: MemoryStream, store: MemoryStore) -> None:
    """An undecodable record is kept with its reason; the shard goes on and is checkpointed past it."""
    put(live_stream, 1, 3)
    live_stream.put([OutRecord("b001", b"\x00poison"), OutRecord("b001", encode_record([an_event()])[:-2])])
    put(live_stream, 3, 6)
    with running(make_worker(live_stream, store)):
        eventually(lambda: views(store) == 5)
        eventually(lambda: store.checkpoints.get(ROOT) == Checkpoint(live_stream.incarnation(), "7"))
    assert [(record.reason, record.data[:7]) for record in dead_letters_in(store)] == [
        ("not_ours", b"\x00poison"),
        ("damaged", encode_record([an_event()])[:7]),
    ]


class CountedOutages(MemoryStream):
    """Counts the calls that fail while it is down."""

    failed = 0

    def shards(self) -> list[Shard]:
        self.failed += self.down
        return super().shards()

    def read(self, iterator: str, limit: int) -> RecordBatch:
        self.failed += self.down
        return super().read(iterator, limit)


def test_stream_that_is_down_for_a_while(store: MemoryStore) -> None:
    """The worker waits for the stream, at start and later."""
    live_stream = CountedOutages(system_clock, shards=1)
    live_stream.down = True
    with running(make_worker(live_stream, store)):
        eventually(lambda: live_stream.failed > 0)
        live_stream.down = False
        put(live_stream, 1, 4)
        eventually(lambda: views(store) == 3)
        failed_at_start = live_stream.failed
        live_stream.down = True
        eventually(lambda: live_stream.failed > failed_at_start)
        live_stream.down = False
        put(live_stream, 4, 6)
        eventually(lambda: views(store) == 5)


def test_store_that_stays_away_ends_the_worker(
    live_stream: MemoryStream, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When counters cannot be written the worker ends with nothing checkpointed, and a new one recovers."""

    def refuse(*_: object) -> None:
        raise StoreUnavailable("gone")

    put(live_stream, 1, 6)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_counters", refuse)
        with pytest.raises(FlushAbandoned):
            make_worker(live_stream, store).run(threading.Event())
    assert store.checkpoints == {}
    with running(make_worker(live_stream, store)):
        eventually(lambda: views(store) == 5)


def test_shard_that_failed_ends_the_worker_while_the_store_is_away(
    live_stream: MemoryStream, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker does not wait for the store to name new shards when one has failed: its supervisor is to know."""
    worker = make_worker(live_stream, store, refresh_seconds=0.05)
    asked_in_vain = threading.Event()

    def refuse(*_: object) -> None:
        asked_in_vain.set()
        raise StoreUnavailable("gone")

    def fail(*_: object) -> None:
        monkeypatch.setattr(store, "load_checkpoints", refuse)
        assert asked_in_vain.wait(10)
        raise FlushAbandoned("hopeless")

    monkeypatch.setattr(store, "write_counters", fail)
    put(live_stream, 1, 2)
    ended = threading.Event()

    def run() -> None:
        with pytest.raises(FlushAbandoned):
            worker.run(threading.Event())
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert ended.wait(10)


def test_recreated_stream_is_counted_from_its_start(store: MemoryStore) -> None:
    """Sequence numbers of a re-created stream start anew, and its records count all the same."""
    for created_at in (1, 2):
        stream = MemoryStream(system_clock, shards=1, created_at=created_at)
        put(stream, 100 * created_at, 100 * created_at + 5)
        with running(make_worker(stream, store)):
            eventually(lambda expected=5 * created_at: views(store) == expected)  # type: ignore[misc]


def test_on_dynamodb_and_kinesis(aws: object, open_aws: Callable[[object], tuple[Stream, Store]]) -> None:
    """The same worker on the local AWS stack, stopped and started again."""
    stream, store = open_aws(aws)
    put(stream, 1, 101)
    with running(make_worker(stream, store)):
        eventually(lambda: views(store) == 100)
    put(stream, 101, 151)
    second = make_worker(stream, store)
    with running(second):
        eventually(lambda: views(store) == 150)
    assert second.progress.records == 50
