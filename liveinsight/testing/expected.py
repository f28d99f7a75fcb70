"""What a stream must leave behind, and what it has left: two tallies to compare.

`recount` folds each event once, in order: no batches, no store, no marks to compare. It is the naive way of counting
that every other way has to agree with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from liveinsight.counting.contributions import Contribution
from liveinsight.counting.counters import CounterItem, decode_counter, merge_items
from liveinsight.counting.fold import fold
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.sessions import VisitorState, decode_visitor, new_visitor
from liveinsight.counting.timeline import Marked, timeline_event, unpack_waiting
from liveinsight.model.events import Event
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.items import ItemStore, StoredCounter, StoredVisitor
from liveinsight.storage.store import DeadLetter, DeadLetterStore, Store, VisitorKey
from liveinsight.testing.counters import apply_pending, by_counter, split_items
from liveinsight.testing.memory_store import MemoryStore

Numbers = dict[CounterKey, tuple[dict[str, int], dict[int, int], int]]
"""Measures, page views by local hour, and visitors of each counter, all shards together."""


class Tally(NamedTuple):
    """All that a stream leaves behind."""

    counters: Numbers
    sessions: dict[VisitorKey, VisitorState]
    timelines: dict[tuple[str, str], list[Marked]]
    dead_letters: list[str]
    """Marks of the records that could not be decoded."""


def recount(placed: Iterable[tuple[str, Event]], dead_letters: Sequence[str] = ()) -> Tally:
    """Fold each event once, in order, as (mark, event): no batches, no store, no marks to compare."""
    sessions: dict[VisitorKey, VisitorState] = {}
    timelines: dict[tuple[str, str], list[Marked]] = {}
    pending: dict[CounterKey, list[Contribution]] = {}
    for mark, event in placed:
        key = event.site, event.visitor
        state = sessions.setdefault(key, new_visitor(*key))
        folded = fold(state, event, mark)
        assert state.mark == mark, f"{mark} does not come after the visitor's events before it"
        for counter, part in by_counter(folded.contributions):
            pending.setdefault(counter, []).append(part)
        if folded.session_id:
            timelines.setdefault((event.site, folded.session_id), []).append((mark, timeline_event(event)))
    items = {counter: CounterItem() for counter in pending}
    for counter, item in items.items():
        apply_pending(item, pending[counter])
    return Tally(
        numbers((counter, item) for counter, item in items.items()), sessions, _sorted(timelines), sorted(dead_letters)
    )


def stored_in(store: MemoryStore) -> Tally:
    """Everything in a store."""
    stored = store.load_visitors(list(store.visitors))
    names = {
        *store.timeline,
        *((state.site, name) for state in stored.values() for name, _, _ in unpack_waiting(state.tail)),
    }
    timelines = {name: store.read_timeline(*name, limit=10_000).rows for name in names}
    sessions = {key: as_folded(state) for key, state in stored.items()}
    counters = numbers(split_items((key, item) for (_, key), item in store.counters.items()))
    return Tally(counters, sessions, _sorted(timelines), sorted(store.dead_letters))


def stored_items_in(store: Store, items: ItemStore) -> Tally:
    """Everything in a store that is no `MemoryStore`; `items` are the same store's."""
    counters: list[tuple[CounterKey, CounterItem]] = []
    sessions: dict[VisitorKey, VisitorState] = {}
    names: set[tuple[str, str]] = set()
    position = ""
    while page := items.page(position):
        position = page.position
        for item in page.items:
            if isinstance(item, StoredCounter):
                counters.append((item.key, decode_counter(item.data, item.mark)))
            elif isinstance(item, StoredVisitor):
                state = decode_visitor(item.data)
                sessions[item.site, item.visitor] = as_folded(state)
                names.update((item.site, name) for name, _, _ in unpack_waiting(state.tail))
            else:
                names.add((item.site, item.session_id))
    timelines = {name: store.read_timeline(*name, limit=10_000).rows for name in names}
    dead_letters = sorted(record.mark for record in dead_letters_in(store))
    return Tally(numbers(split_items(counters)), sessions, _sorted(timelines), dead_letters)


def dead_letters_in(store: DeadLetterStore) -> list[DeadLetter]:
    """All dead letters of a store by mark, with their bytes; at most 1,000."""
    loaded = (store.load_dead_letter(summary.mark) for summary in store.list_dead_letters(1000))
    return [record for record in loaded if record]


def as_folded(state: VisitorState) -> VisitorState:
    """A stored state without what the fold leaves alone."""
    return replace(state, tail=[], spilled=NO_MARK, listed=[])


def numbers(items: Iterable[tuple[CounterKey, CounterItem]]) -> Numbers:
    """Items of all shards summed up, without the zeros that corrections leave behind."""
    by_key: dict[CounterKey, list[CounterItem]] = {}
    for key, item in items:
        by_key.setdefault(key, []).append(item)
    result = {}
    for key, parts in by_key.items():
        total = merge_items(parts)
        measures = {name: amount for name, amount in total.measures.items() if amount}
        hours = {hour: views for hour, views in total.hours.items() if views}
        if measures or hours:
            result[key] = (measures, hours, total.visitors)
    return result


def differences(got: Tally, expected: Tally) -> list[str]:
    """What is not as it should be, one line each: empty when all is well."""
    lines = []
    for name, ours, theirs in zip(Tally._fields, got, expected, strict=True):
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in sorted({*ours, *theirs}, key=str):
                if ours.get(key) != theirs.get(key):
                    lines.append(f"{name} {key}: stored {ours.get(key)}, expected {theirs.get(key)}")
        elif ours != theirs:
            lines.append(f"{name}: stored {ours}, expected {theirs}")
    return lines


def _sorted(
    timelines: dict[tuple[str, str], list[Marked]],
) -> dict[tuple[str, str], list[Marked]]:
    return {session: sorted(events, key=lambda pair: pair[0]) for session, events in timelines.items()}
