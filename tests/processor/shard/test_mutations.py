"""Each rule of counting once is needed: with one of them broken, the simulation finds wrong counters.

A mutation patches the product in memory and is run over a fixed set of seeds. It must be caught by its counters alone:
differences in sessions or timelines do not count here. What no seed can catch stands at the end, with the reason.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from liveinsight.counting.contributions import Contribution, PendingContributions
from liveinsight.counting.counters import CounterItem, apply_contributions, decode_counter, encode_counter, merge_items
from liveinsight.counting.fold import Folded, fold
from liveinsight.counting.keys import CounterKey, totals_key
from liveinsight.counting.layout import Cadence
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.model.buckets import quarter_of
from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.events import Event, encode_record
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.store import CounterWrite, ProcessorStore, VisitorKey, VisitorWrite, Written
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.counters import apply_pending, by_counter
from liveinsight.testing.expected import recount, stored_in
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.testing.simulation import Simulation
from processor.shard.checkpoints import Checkpointer
from processor.shard.counter_writer import CounterWriter
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from processor.shard.visitor_writer import VisitorWriter

pytestmark = pytest.mark.simulation

SEEDS = range(100)
OPTIONS = ProcessorOptions(
    counters_interval=1, previews_interval=2, sessions_interval=3, give_up_after=30, drain_within=5
)

Mutation = Callable[[pytest.MonkeyPatch], type[MemoryStore]]
"""Breaks one rule; returns the store to run on."""


@pytest.fixture(autouse=True)
def _short_memory_for_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembered event ids would hide a missing skip rule."""
    monkeypatch.setattr("liveinsight.counting.sessions.MAX_RECENT_IDS", 2)


def make_processor(store: ProcessorStore, incarnation: int, clock: FakeClock) -> RecordProcessor:
    return RecordProcessor(store, incarnation, OPTIONS, clock, sleep=lambda seconds: clock.advance(seconds=seconds))


def wrong_seeds(kind: type[MemoryStore], seeds: Iterable[int]) -> Iterable[int]:
    """Seeds that end with wrong counters. A run that cannot even come to its end is wrong, too."""
    for seed in seeds:
        store = kind()
        simulation = Simulation(seed, make_processor, store=store)
        simulation.run()
        if stored_in(store).counters != simulation.expected().counters:
            yield seed


# --- the mutations ---------------------------------------------------------------------------------------------------


class AddingStore(MemoryStore):
    """Adds what it is given to what it has, without a condition."""

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        for write in writes:
            stored = self.counters.get((shard, write.key), CounterItem())
            self.counters[shard, write.key] = merge_items([stored, decode_counter(write.data, write.mark)])
        return Written()


class IgnoringStore(MemoryStore):
    """Writes counters over whatever is there."""

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        stored = self.load_counters(shard, [write.key for write in writes])
        marks = {key: item.mark for key, item in stored.items()}
        return super().write_counters(shard, [w._replace(expected=marks.get(w.key, NO_MARK)) for w in writes])


class StaleVisitors(MemoryStore):
    """Every third time, gives visitors as they were before the last write."""

    def __init__(self) -> None:
        super().__init__()
        self._rng = random.Random(1)
        self._before: dict[VisitorKey, tuple[str, bytes]] = {}

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        before = dict(self.visitors)
        written = super().write_visitors(writes)
        self._before.update({key: data for key, data in before.items() if self.visitors[key] != data})
        return written

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        stale = self._before if self._rng.random() < 1 / 3 else {}
        fresh = super().load_visitors(keys)
        return fresh | {key: decode_visitor(stale[key][1]) for key in keys if key in stale}


class StaleCounters(MemoryStore):
    """Every third time, gives counters as they were before the last write."""

    def __init__(self) -> None:
        super().__init__()
        self._rng = random.Random(1)
        self._before: dict[tuple[str, CounterKey], CounterItem] = {}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        before = dict(self.counters)
        written = super().write_counters(shard, writes)
        self._before.update({key: item for key, item in before.items() if self.counters[key] is not item})
        return written

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        stale = self._before if self._rng.random() < 1 / 3 else {}
        found = super().load_counters(shard, keys)
        for key in keys:
            if item := stale.get((shard, key)):
                found[key] = decode_counter(encode_counter(item), item.mark)
        return found


def summed_up(pending: Iterable[Contribution]) -> CounterItem:
    item = CounterItem()
    for part in pending:
        apply_pending(item, [replace(part, mark="+")])
        item.mark = NO_MARK
    return item


def plain_add(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """Counters as most pipelines have them: ADD what is pending, try again when it failed."""

    def flush(self: Any, _: Cadence = Cadence.SLOW) -> bool:
        pending: dict[CounterKey, list[Contribution]] = {}
        for target, batch in self._pending.items():
            for key, _part in by_counter([Contribution(target, "", {})]):
                pending.setdefault(key, []).extend(batch.parts)
        writes = [CounterWrite.of(key, NO_MARK, summed_up(parts), 0) for key, parts in pending.items()]
        lost = self._store.write_counters(self._shard, writes).unconfirmed
        self._pending = {writes[index].key: PendingContributions(pending[writes[index].key]) for index in lost}
        if lost:
            raise StoreUnavailable("not confirmed")
        self.pending = 0
        return True

    patch.setattr(CounterWriter, "flush", flush)
    return AddingStore


def no_compare_and_set(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """Counters are written whatever mark is stored."""
    return IgnoringStore


def no_mark_filter(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """After a failed write the item is loaded again, but all that is pending is applied to it."""

    def apply_all(item: CounterItem, batches: Iterable[tuple[str, PendingContributions]], *kind: str) -> bool:
        stored, item.mark = item.mark, NO_MARK
        apply_contributions(item, batches, *kind)
        item.mark = max(stored, item.mark)
        return True

    patch.setattr("processor.shard.counter_writer.apply_contributions", apply_all)
    return MemoryStore


def sessions_before_counters(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """The first two stages of a flush change places."""
    flush_all = RecordProcessor._flush_all

    def flush(self: Any, checkpointer: Checkpointer, give_up_at: int, *, closed: bool = False) -> None:
        self._retry(self._visitors.flush, give_up_at)
        flush_all(self, checkpointer, give_up_at, closed=closed)

    patch.setattr(RecordProcessor, "_flush_all", flush)
    return MemoryStore


def checkpoint_before_flush(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """The checkpoint is moved before anything is written."""
    flush_all = RecordProcessor._flush_all

    def flush(self: Any, checkpointer: Checkpointer, give_up_at: int, *, closed: bool = False) -> None:
        if self._dirty_since_checkpoint:
            self._retry(lambda: checkpointer.checkpoint(self._last_sequence), give_up_at)
        flush_all(self, checkpointer, give_up_at, closed=closed)

    patch.setattr(RecordProcessor, "_flush_all", flush)
    return MemoryStore


def no_skip_rule(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """Events at or below their visitor's mark are folded again."""

    def fold_always(state: VisitorState, event: Event, mark: str) -> Folded:
        stored, state.mark = state.mark, NO_MARK
        folded = fold(state, event, mark)
        state.mark = max(stored, mark)
        return folded

    patch.setattr("processor.shard.record_processor.fold", fold_always)
    return MemoryStore


def mark_without_shard(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """A mark is only a sequence number, which means nothing in another shard."""
    patch.setattr("processor.shard.record_decoder.mark_prefix", lambda incarnation, shard: f"{incarnation:013d}//")
    return MemoryStore


def mark_without_index(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """All events of a record have the same mark."""
    patch.setattr("processor.shard.record_decoder.event_mark", lambda record, index: record)
    return MemoryStore


def marks_as_plain_text(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """Sequence numbers without their length in front: 10 sorts below 9."""
    patch.setattr("processor.shard.record_decoder.record_mark", lambda prefix, number: f"{prefix}{number}/")
    return MemoryStore


def stale_visitors(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """States are read eventually consistent: events between the state read and the checkpoint are forgotten."""
    return StaleVisitors


def dirty_item_stays_cached(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """An item whose write failed stays in memory with its contributions applied, as if it had been written."""
    flush = CounterWriter.flush

    class Keeping:
        def __init__(self, writer: Any) -> None:
            self._writer, self._store = writer, writer._store
            self.load_counters = self._store.load_counters

        def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
            for write in writes:
                self._writer._stored.put(write.key, decode_counter(write.data, write.mark))
            written: Written = self._store.write_counters(shard, writes)
            return written

    def flush_and_keep(self: Any, up_to: Cadence = Cadence.SLOW) -> bool:
        store, self._store = self._store, Keeping(self)
        try:
            return flush(self, up_to)
        finally:
            self._store = store

    patch.setattr(CounterWriter, "flush", flush_and_keep)
    return MemoryStore


def counters_of_an_item_apart(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """A page's own counter is written at the fast cadence, and those beside it in the same item are not."""
    flush = CounterWriter.flush

    def flush_own_first(self: Any, up_to: Cadence = Cadence.SLOW) -> bool:
        own = {
            key: [(name, batch) for name, batch in batches if not name]
            for key, batches in self._items[Cadence.SLOW].items()
            if up_to is Cadence.FAST and key.dimension == "page"
        }
        for key, batches in own.items():
            item = self._store.load_counters(self._shard, [key]).get(key) or CounterItem()
            self._stored.take(key)
            expected = item.mark
            if apply_contributions(item, batches):
                self._store.write_counters(self._shard, [CounterWrite.of(key, expected, item, 0)])
        return flush(self, up_to)

    patch.setattr(CounterWriter, "flush", flush_own_first)
    return MemoryStore


def pending_dropped(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """What was not confirmed is taken for written."""
    flush = CounterWriter.flush

    def flush_once(self: Any, up_to: Cadence = Cadence.SLOW) -> bool:
        try:
            return flush(self, up_to)
        except StoreUnavailable:
            self._pending.clear()
            for items in self._items.values():
                items.clear()
            self.pending = 0
            return True

    patch.setattr(CounterWriter, "flush", flush_once)
    return MemoryStore


def refused_state_stays_cached(patch: pytest.MonkeyPatch) -> type[MemoryStore]:
    """A visitor's state that was refused is kept in memory."""
    flush = VisitorWriter.flush

    def flush_and_keep(self: Any) -> None:
        self._pack()
        kept = {key: self._unwritten[key].unpack() for key in self._unwritten}
        flush(self)
        # What was written is packed by now; a state is in one place only.
        self._states.update({key: state for key, state in kept.items() if key not in self._stored})

    patch.setattr(VisitorWriter, "flush", flush_and_keep)
    return MemoryStore


# --- the tests -------------------------------------------------------------------------------------------------------

CAUGHT: list[Mutation] = [
    plain_add,
    no_compare_and_set,
    no_mark_filter,
    sessions_before_counters,
    checkpoint_before_flush,
    no_skip_rule,
    mark_without_shard,
    mark_without_index,
    marks_as_plain_text,
    stale_visitors,
    dirty_item_stays_cached,
    counters_of_an_item_apart,
    pending_dropped,
]


@pytest.mark.parametrize("mutation", CAUGHT)
def test_mutation_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this rule broken, some run ends with wrong counters."""
    kind = mutation(monkeypatch)
    caught_by = next(iter(wrong_seeds(kind, SEEDS)), None)
    assert caught_by is not None, f"{mutation.__name__}: no seed of {SEEDS} ends with wrong counters"


def test_nothing_is_caught_without_a_mutation() -> None:
    """The same seeds are right when nothing is broken: what the mutations show is theirs."""
    assert list(wrong_seeds(MemoryStore, SEEDS)) == []


def test_refused_state_in_memory_is_harmless_while_the_fold_is_determined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping a visitor's state that was refused changes no counter, because of rule 5 and the mark filter.

    Why no seed can catch it. Say a state with mark `m` is refused, so the stored one has `s >= m`. Ours was loaded
    from the store and brought to `m` by events in the order of the stream, so by determinism it is exactly what the
    store held, or would have held, at `m`. If it is kept, the events from `m` to `s` are folded again and give the
    very contributions that whoever wrote `s` has written before it (rule 1), in items of this shard with marks at
    or beyond those events: compare-and-set lets none in twice. Beyond `s` both states are equal again. Forgetting
    it saves that work, and ends the harm soon if determinism should ever be broken: the next test.
    """
    assert list(wrong_seeds(refused_state_stays_cached(monkeypatch), SEEDS)) == []


class OneWrongRead(MemoryStore):
    """Knows nobody for the length of one read."""

    forgetful = False

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        if self.forgetful:
            self.forgetful = False
            return {}
        return super().load_visitors(keys)


class Nowhere:
    def checkpoint(self, sequence_number: str) -> None:
        pass


def right_after_one_wrong_read() -> bool:
    """Whether the totals are right when a zombie has once read a visitor wrongly, and was refused for it."""
    clock, store, shard = FakeClock(), OneWrongRead(), "shardId-000000000000"
    stream = MemoryStream(clock, created_at=1)
    events = [an_event(at=NOON + number * 60_000, event_id=number + 1) for number in range(4)]
    stream.put([OutRecord("b001", encode_record([event])) for event in events])
    records = stream.read(stream.iterator(shard, after=None, start=StartAt.TRIM_HORIZON), 10).records
    owner, zombie = (make_processor(store, 1, clock) for _ in range(2))
    owner.initialize(shard, "")
    owner.process_records(records[:3], Nowhere(), 0)
    owner.shutdown_requested(Nowhere())
    store.forgetful = True
    zombie.initialize(shard, "2")
    for record in records[2:]:
        zombie.process_records([record], Nowhere(), 0)
        zombie.shutdown_requested(Nowhere())
    expected = recount((f"{number}", event) for number, event in enumerate(events))
    key = totals_key("default", quarter_of(NOON))
    return stored_in(store).counters[key] == expected.counters[key]


def test_refused_state_in_memory_does_harm_once_a_state_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where forgetting a refused state matters: a wrong one does not spread.

    Four views of one page, one visit. A zombie goes on from the third and reads, just once, that nobody was here
    before; the owner is done with the third, so all that the zombie makes of it is refused. The fourth is its own.

        event       1 view      2 view      3 view                       4 view
        owner       ------------------------------>
        zombie                              "a new visit, a bounce"      forgets: the fourth view of the visit
                                            refused                      keeps: "the second", takes a bounce back
    """
    assert right_after_one_wrong_read()
    refused_state_stays_cached(monkeypatch)
    assert not right_after_one_wrong_read()


def test_stale_counters_are_harmless_as_compare_and_set_refuses_what_is_built_on_them() -> None:
    """Reading counters eventually consistent costs another try and nothing else.

    Why no seed can catch it. What is built on a stale item expects the stale mark. Marks of an item only rise and no
    two versions share one, so the write is refused, and the item is loaded again with all contributions still
    pending. When a read shows less than all pending to be in, they are written on top of the version that was read,
    or refused; so none is left out and none is added twice. Strong reads only save the tries. Visitor states have no
    such net, as contributions are computed from them before anything is written: see `stale_visitors`.
    """
    assert list(wrong_seeds(StaleCounters, SEEDS)) == []
