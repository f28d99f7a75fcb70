"""Previews: readers see what waits to be written, once, and never take a part for the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from msgspec.structs import replace

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.timeline import timeline_event
from liveinsight.model.buckets import day_from_number, day_number, days_between
from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.events import PAGE_VIEW, Event, encode_record
from liveinsight.storage.backend import Backend
from liveinsight.storage.store import ProcessorStore, Read, Store
from liveinsight.storage.stream import Record
from liveinsight.storage.watermarks import freshest_possible, freshest_previews
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.expected import recount
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.simulation import Simulation
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.seeds import simulation_seeds

SHARD = "shardId-000000000000"
TODAY = an_event(at=NOON).day
SEEDS = simulation_seeds(150)
OPTIONS = ProcessorOptions(counters_interval=1, previews_interval=2, sessions_interval=20, give_up_after=30)


class NoCheckpoints:
    def checkpoint(self, sequence_number: str) -> None:
        pass


def records(events: Iterable[Event], first: int = 1) -> list[Record]:
    return [Record(str(number), "b001", encode_record([event]), NOON) for number, event in enumerate(events, first)]


def processor_on(
    store: ProcessorStore,
    clock: FakeClock,
    options: ProcessorOptions = OPTIONS,
    viewed: Callable[[], frozenset[str] | None] = lambda: None,
) -> RecordProcessor:
    processor = RecordProcessor(
        store, 1, options, clock, sleep=lambda seconds: clock.advance(seconds=seconds), viewed=viewed
    )
    processor.initialize(SHARD, "")
    processor.process_records([], NoCheckpoints(), 0)
    return processor


def views(read: Read[tuple[str, CounterItem]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for value, item in read.rows:
        found[value] += item.measures.get("pageviews", 0)
    return dict(found)


def test_what_waits_is_shown_once(any_store: Store) -> None:
    """Breakdowns, states and timelines are seen before they are written, and are the same after.

    0 s  flush | 1 s  a, b | 3 s  preview | 4 s  a | 6 s  preview | 21 s  flush
    page a                   1                        2               2
    """
    clock = FakeClock(NOON)
    processor = processor_on(any_store, clock)
    first = [an_event(at=NOON, event_id=1, page="/a"), an_event(at=NOON, event_id=2, visitor=257, page="/b")]
    clock.advance(seconds=3)
    processor.process_records(records(first), NoCheckpoints(), 0)
    assert views(any_store.read_dimension("default", TODAY, "page")) == {"/a": 1, "/b": 1}
    assert any_store.load_visitors([("default", 1)]) == {}
    again = an_event(at=NOON + 1000, event_id=3, page="/a")
    clock.advance(seconds=3)
    processor.process_records(records([again], 3), NoCheckpoints(), 0)
    shown = any_store.read_dimension("default", TODAY, "page"), any_store.read_visitors([("default", 1)])
    assert (views(shown[0]), shown[0].partial, shown[1].partial) == ({"/a": 2, "/b": 1}, False, False)
    (state,) = shown[1].rows
    timeline = any_store.read_timeline("default", state.sessions[0].id, 10).rows
    assert [event for _, event in timeline] == [timeline_event(first[0]), timeline_event(again)]
    clock.advance(seconds=20)
    processor.process_records([], NoCheckpoints(), 0)
    assert views(any_store.read_dimension("default", TODAY, "page")) == {"/a": 2, "/b": 1}
    assert any_store.read_visitors([("default", 1)]).rows == list(any_store.load_visitors([("default", 1)]).values())
    entries = any_store.read_dimension("default", TODAY, "entry_page").rows
    assert sorted((value, item.measures["visits"]) for value, item in entries) == [("/a", 1), ("/b", 1)]
    assert any_store.read_timeline("default", state.sessions[0].id, 10).rows == timeline


def test_preview_that_was_stored_in_part_is_left_out(any_store: Store) -> None:
    """A worker that died is followed by one that has not come as far: what it shows is no more and no less than it
    has written, and the answer says so.

        old   a a a preview, dies
        new   a     flush            page a: 1 of 3, in part; then 3
    """
    clock = FakeClock(NOON)
    old = processor_on(any_store, clock)
    three = [an_event(at=NOON + n, event_id=n + 1, page="/a") for n in range(3)]
    clock.advance(seconds=3)
    old.process_records(records(three), NoCheckpoints(), 0)
    assert views(any_store.read_dimension("default", TODAY, "page")) == {"/a": 3}
    new = processor_on(any_store, clock)
    new.process_records(records(three[:1]), NoCheckpoints(), 0)
    assert views(any_store.read_dimension("default", TODAY, "page")) == {"/a": 3}
    new.shutdown_requested(NoCheckpoints())
    read = any_store.read_dimension("default", TODAY, "page")
    assert (views(read), read.partial) == ({"/a": 1}, True)
    new.process_records(records(three[1:], 2), NoCheckpoints(), 0)
    new.shutdown_requested(NoCheckpoints())
    read = any_store.read_dimension("default", TODAY, "page")
    assert (views(read), read.partial) == ({"/a": 3}, False)


def test_preview_that_was_not_stored_comes_with_the_next(clock: FakeClock) -> None:
    """A table that takes no preview delays it, and nothing else; its time is not claimed before it is there."""

    class Throttled(MemoryStore):
        left = 1

        def write_previews(self, *previews: object) -> None:
            if self.left:
                self.left -= 1
                raise StoreUnavailable("throttled")
            super().write_previews(*previews)  # type: ignore[arg-type]

    store = Throttled()
    processor = processor_on(store, clock)
    clock.advance(seconds=3)
    processor.process_records(records([an_event(page="/a")]), NoCheckpoints(), 0)
    assert freshest_previews(store.watermarks.values(), "default") == freshest_possible(store.watermarks.values())
    clock.advance(seconds=3)
    processor.process_records([], NoCheckpoints(), 0)
    assert views(store.read_dimension("default", TODAY, "page")) == {"/a": 1}
    (mark,) = store.watermarks.values()
    assert mark.preview_as_of > mark.as_of


def test_too_much_for_a_preview_is_written(store: MemoryStore) -> None:
    """A preview is one item: what does not fit is flushed before its time."""
    clock = FakeClock(NOON)
    processor = processor_on(store, clock, replace(OPTIONS, preview_bytes=100))
    clock.advance(seconds=3)
    events = [an_event(at=NOON, event_id=n, page=f"/{n}") for n in range(1, 40)]
    processor.process_records(records(events), NoCheckpoints(), 0)
    assert store.counter_previews == {}
    assert len(views(store.read_dimension("default", TODAY, "page"))) == 39


def test_visitors_that_are_left_out_make_the_answer_partial(any_store: Store) -> None:
    """A preview has the visitors that were active last; of others an answer is as of what is stored."""
    clock = FakeClock(NOON)
    processor = processor_on(any_store, clock, replace(OPTIONS, previewed_visitors=2))
    clock.advance(seconds=3)
    events = [an_event(at=NOON + n * 1000, event_id=n, visitor=n) for n in (1, 2, 3)]
    processor.process_records(records(events), NoCheckpoints(), 0)
    last = any_store.read_visitors([("default", 2), ("default", 3)])
    assert (sorted(state.visitor for state in last.rows), last.partial) == ([2, 3], False)
    assert any_store.read_visitors([("default", 1)]).partial


def test_only_what_somebody_looks_at_is_previewed(any_store: Store) -> None:
    """A site that nobody looks at is shown as it is stored, and the answer's time says so. Once somebody looks, the
    next preview shows all that waits of that site, and of no other.

    3 s  a, b; nobody looks | 6 s  somebody looks at b | 9 s  at both | 21 s  flush
    """
    clock, viewed = FakeClock(NOON), set[str]()
    processor = processor_on(any_store, clock, viewed=lambda: frozenset(viewed))
    both = [an_event(at=NOON, event_id=1, site="a", page="/x"), an_event(at=NOON, event_id=2, site="b", page="/x")]

    def look(*sites: str) -> None:
        viewed.update(sites)
        clock.advance(seconds=3)
        processor.process_records(records(both) if not sites else [], NoCheckpoints(), 0)

    def shown(site: str) -> tuple[int, int, bool]:
        marks = any_store.read_watermarks().rows
        stored, previewed = freshest_possible(marks), freshest_previews(marks, site)
        assert stored is not None
        assert previewed is not None
        pages = views(any_store.read_dimension(site, TODAY, "page")).get("/x", 0)
        return pages, len(any_store.read_visitors([(site, 1)]).rows), previewed > stored

    look()
    assert (shown("a"), shown("b")) == ((0, 0, False), (0, 0, False))
    look("b")
    assert (shown("a"), shown("b")) == ((0, 0, False), (1, 1, True))
    look("a")
    assert (shown("a"), shown("b")) == ((1, 1, True), (1, 1, True))
    clock.advance(seconds=20)
    processor.process_records([], NoCheckpoints(), 0)
    assert (shown("a"), shown("b")) == ((1, 1, False), (1, 1, False))


class Watching(Simulation):
    """Reads what the API would read, between whatever happens. No reshards: `as_of` is known to run ahead there."""

    checks = 0
    parts = 0

    def _reshard(self) -> None:
        pass

    def _put(self, key: str, data: bytes, events: list[Event]) -> None:
        super()._put(key, data, events)
        self.arrived = [*getattr(self, "arrived", []), *([self.clock()] * len(events))]

    def _one_step(self) -> None:
        super()._one_step()
        if self.placed and self.rng.random() < 0.15:
            self._look()

    def _look(self) -> None:
        store = self._store._store
        watermarks = store.read_watermarks().rows
        days = {event.day for _, _, event in self.placed}
        reads = [
            store.read_dimension("default", day_number(day), "page")
            for day in days_between(*(day_from_number(edge(days)) for edge in (min, max)))
        ]
        shown = sum((Counter(views(read)) for read in reads), Counter())
        partial = any(read.partial for read in reads)
        as_of = (freshest_possible(watermarks) if partial else freshest_previews(watermarks, "default")) or 0
        claimed = [one for one, at in zip(self.placed, self.arrived, strict=True) if at < as_of]
        least, most = views_of(claimed), views_of(self.placed)
        self.checks += 1
        self.parts += partial
        told = f"TEST_SEED={self._seed} runs it alone; partial {partial}"
        for page in most:
            assert least[page] <= shown[page] <= most[page], f"{told}, {page}"


def views_of(placed: Iterable[tuple[str, str, Event]]) -> Counter[str]:
    """Page views by page, each event once."""
    counted: Counter[str] = Counter()
    tally = recount((mark, event) for _, mark, event in placed if event.type == PAGE_VIEW)
    for key, (measures, _, _) in tally.counters.items():
        if key.kind == "dimension" and key.dimension == "page":
            counted[key.value] += measures.get("pageviews", 0)
    return counted


@pytest.mark.simulation
@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_readers_see_what_is_claimed_and_nothing_twice(backend: str, sqlite_in_memory: Backend) -> None:
    """Through crashes, zombies and throttling: at any moment a page has at least the views that arrived before `as_of`
    and at most those that there are."""

    def make(store: ProcessorStore, incarnation: int, clock: FakeClock) -> RecordProcessor:
        return RecordProcessor(store, incarnation, OPTIONS, clock, sleep=lambda seconds: clock.advance(seconds=seconds))

    checks = parts = 0
    seeds = SEEDS if backend == "memory" else SEEDS[::3]
    for seed in seeds:
        store = MemoryStore() if backend == "memory" else sqlite_in_memory.store(seed + 1)
        simulation = Watching(seed, make, store=store)
        simulation.run()
        checks += simulation.checks
        parts += simulation.parts
    assert checks > 20 * len(seeds)
    if len(SEEDS) > 100:
        assert parts > 0, "no run has seen a preview stored in part"
