"""Parts of the processor's work by themselves: decoding, the fold, and bounds from below for the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.support.traffic import INCARNATION, SHARD, Poll
from liveinsight.counting.fold import fold
from liveinsight.counting.layout import Target
from liveinsight.counting.sessions import VisitorState, new_visitor
from liveinsight.model.events import decode_record
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.storage.store import ProcessorStore, VisitorKey, VisitorWrite


def decode(polls: Sequence[Poll]) -> None:
    """Records to events."""
    for poll in polls:
        for record in poll.records:
            decode_record(record.data)


def fold_into(states: dict[VisitorKey, VisitorState], polls: Iterable[Poll]) -> None:
    """Bring `states` to where the events leave them; the contributions are thrown away."""
    prefix = mark_prefix(INCARNATION, SHARD)
    for poll in polls:
        for record in poll.records:
            mark = record_mark(prefix, record.sequence_number)
            for index, event in enumerate(decode_record(record.data)):
                key = event.site, event.visitor
                state = states.get(key)
                if state is None:
                    state = states[key] = new_visitor(*key)
                fold(state, event, event_mark(mark, index))


def least(states: dict[VisitorKey, VisitorState], store: ProcessorStore, polls: Iterable[Poll]) -> None:
    """A bound from below for any program in Python that stores visitors as ours are, in these libraries.

    Each event is decoded, noted in its visitor's state and added to five sums, where `fold` gives nine or ten of two or
    three numbers each. Each visitor is encoded and written once, at the end. No session is cut, no visitor counted
    once, no breakdown, preview or live list is written; all states are objects in memory.
    """
    sums: dict[object, int] = {}
    touched: dict[VisitorKey, VisitorState] = {}
    for poll in polls:
        for record in poll.records:
            for event in decode_record(record.data):
                key = event.site, event.visitor
                state = states.get(key)
                if state is None:
                    state = states[key] = new_visitor(*key)
                state.recent_ids.append(event.event_id)
                touched[key] = state
                for counter in (event.day, event.page, event.type, event.source, event.country):
                    sums[counter] = sums.get(counter, 0) + 1
    store.write_visitors([VisitorWrite.of(state, 0, is_new=False) for state in touched.values()])


def bare(states: dict[VisitorKey, VisitorState], store: ProcessorStore, polls: Iterable[Poll]) -> None:
    """A bound from below for a processor with our fold: what it adds is added up, and visitors are written.

    As in `least`, each is written once, at the end, and all states are objects. What each item holds is not kept apart
    by marks, so it cannot be written safely; no counter is, no distinct visitor counted, no timeline or preview kept.
    """
    prefix = mark_prefix(INCARNATION, SHARD)
    sums: dict[Target, dict[str, int]] = {}
    touched: dict[VisitorKey, VisitorState] = {}
    for poll in polls:
        for record in poll.records:
            mark = record_mark(prefix, record.sequence_number)
            for index, event in enumerate(decode_record(record.data)):
                key = event.site, event.visitor
                state = states.get(key)
                if state is None:
                    state = states[key] = new_visitor(*key)
                touched[key] = state
                for part in fold(state, event, event_mark(mark, index)).contributions:
                    counter = sums.get(part.target)
                    if counter is None:
                        counter = sums[part.target] = {}
                    for name, amount in part.measures.items():
                        counter[name] = counter.get(name, 0) + amount
    store.write_visitors([VisitorWrite.of(state, 0, is_new=False) for state in touched.values()])
