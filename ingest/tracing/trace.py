"""What became of an event: from its receipt, or from its id and whose it is, and what is stored.

Nothing is written per event to make this possible. A receipt says where on the stream the event is; the visitor's
state, the session's timeline, the dead letters and the shard's watermark say how far the worker has come:

    in the timeline, at its place      applied
    in the timeline, elsewhere         duplicate: an earlier arrival of the same id was counted, this one was not
    its record could not be decoded    dead_letter, and why
    the visitor's mark is beyond it    applied
    the watermark is beyond it         applied
    none of these                      streamed: acknowledged, and not known to be counted yet

Promises: at most one visitor, `MAX_SESSIONS` timelines of `TIMELINE_LIMIT` chunks, one dead letter and one
watermark per shard are read, and the answer says how many items that were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, Protocol

from msgspec import UNSET, Struct, UnsetType

from ingest.contract.reasons import Reason
from ingest.pipeline.identity import hashes_of_id
from ingest.tracing.receipts import Receipt
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import Marked, Waiting, unpack_waiting
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.model.ids import known_visitor
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.storage.store import DeadLetter, Read, VisitorKey, Watermark

TIMELINE_LIMIT = 500
"""Items of a session's timeline that are looked at. An event beyond them is judged by marks alone."""
CLOCK_SKEW_MS = 2_000
"""How far the clocks of ingest and worker may differ before a watermark says too much."""

State = Literal["streamed", "applied", "duplicate", "dead_letter", "dropped"]


class TraceStore(Protocol):
    """What a trace reads."""

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        """The stored states among `keys`."""

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        """A session's events with their marks."""

    def read_watermarks(self) -> Read[Watermark]:
        """How far each shard is counted."""

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        """A record that could not be decoded."""


class Trace(Struct, kw_only=True, forbid_unknown_fields=True):
    """What became of an event.

    Times are epoch ms; `shard`, `sequence_number` and `index` are its place on the stream.
    """

    site: str
    state: State
    message: str
    items_read: int
    reason: Reason | UnsetType = UNSET
    dead_letter_reason: str | UnsetType = UNSET
    received_at: int | UnsetType = UNSET
    acknowledged_at: int | UnsetType = UNSET
    occurred_at: int | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    shard: str | UnsetType = UNSET
    sequence_number: str | UnsetType = UNSET
    index: int | UnsetType = UNSET


def trace_receipt(store: TraceStore, receipt: Receipt) -> Trace:
    """The trace of an event with a receipt."""
    trace = Trace(
        site=receipt.site,
        state="dropped",
        message="it is valid, and deliberately not counted",
        items_read=0,
        received_at=receipt.received_at,
    )
    if receipt.reason:
        trace.reason = Reason(receipt.reason)
        return trace
    trace.acknowledged_at, trace.occurred_at = receipt.acknowledged_at, receipt.occurred_at
    trace.session_id = receipt.session_id or UNSET
    trace.shard, trace.sequence_number, trace.index = receipt.shard_id, receipt.sequence_number, receipt.index
    _Search(store, trace).follow(receipt)
    return trace


def trace_id(store: TraceStore, site: str, given: str, *, session_id: str, user_id: str) -> Trace | None:
    """The trace of an event by its id, for one that came without a receipt; None when nothing stored knows it."""
    trace = Trace(site=site, state="applied", message="it is in the session's timeline", items_read=0)
    search = _Search(store, trace)
    wanted = hashes_of_id(site, given)
    sessions = [session_id] if session_id else []
    recent: set[int] = set()
    tail: list[Waiting] = []
    if not sessions:
        state = search.visitor(site, known_visitor(site, user_id))
        if state is None:
            return None
        sessions = [session.id for session in state.sessions]
        recent = set(state.recent_ids)
        tail = unpack_waiting(state.tail)
    read = ((session, mark, event) for session in sessions for mark, event in search.timeline(site, session))
    for session, mark, event in chain(tail, read):
        if event.event_id in wanted:
            trace.session_id, trace.occurred_at, trace.received_at = session, event.occurred_at, event.received_at
            trace.shard, trace.sequence_number, trace.index = _place_of(mark)
            return trace
    if wanted & recent:
        trace.message = "it is among the last ids that the visitor's state knows"
        return trace
    return None


class _Search:
    """Reads for one trace, and counts what is read."""

    def __init__(self, store: TraceStore, trace: Trace) -> None:
        self._store = store
        self._trace = trace

    def visitor(self, site: str, visitor: int) -> VisitorState | None:
        key = (site, visitor)
        self._trace.items_read += 1
        return self._store.load_visitors([key]).get(key)

    def timeline(self, site: str, session_id: str) -> list[Marked]:
        read = self._store.read_timeline(site, session_id, TIMELINE_LIMIT)
        self._trace.items_read += read.items_read
        return read.rows

    def follow(self, receipt: Receipt) -> None:
        """Find out how far the worker has come."""
        state = self.visitor(receipt.site, receipt.visitor)
        watermarks = self._store.read_watermarks()
        self._trace.items_read += watermarks.items_read
        watermark = next((one for one in watermarks.rows if one.shard_id == receipt.shard_id), None)
        incarnation = _incarnation(receipt, watermark, state)
        if not incarnation:
            self._say("streamed", "the stream has it; no worker has told yet how far its shard is counted")
            return
        record = record_mark(mark_prefix(incarnation, receipt.shard_id), receipt.sequence_number)
        mark = event_mark(record, receipt.index)
        # The latest events of a timeline are still in the visitor's state.
        tail = unpack_waiting(state.tail) if state else []
        found = {place for _, place, event in tail if event.event_id == receipt.event_id}
        if mark not in found:
            found |= self._in_timelines(receipt, state)
        if mark in found:
            self._say("applied", "it is in the session's timeline")
        elif found:
            self._say("duplicate", "an event with the same id had arrived before, and was counted instead")
        elif self._is_dead_letter(record):
            self._say("dead_letter", "the worker could not decode its record and has kept it: liveinsight dlq")
        elif state is not None and mark <= state.mark and state.mark.startswith(f"{incarnation:013d}/"):
            self._say("applied", "the visitor is counted beyond it")
        elif watermark is not None and _is_beyond(watermark, receipt):
            self._say("applied", "its shard is counted beyond it")
        else:
            self._say("streamed", "the stream has it; the worker has not come to it, or not written it yet")

    def _in_timelines(self, receipt: Receipt, state: VisitorState | None) -> set[str]:
        """Marks under which the event's id is in the timelines that it can be in."""
        return {
            mark
            for session in _candidates(receipt, state)
            for mark, event in self.timeline(receipt.site, session)
            if event.event_id == receipt.event_id
        }

    def _is_dead_letter(self, record: str) -> bool:
        kept = self._store.load_dead_letter(record)
        if kept is None:
            return False
        self._trace.items_read += 1
        self._trace.dead_letter_reason = kept.reason
        return True

    def _say(self, state: State, message: str) -> None:
        self._trace.state, self._trace.message = state, message


def _candidates(receipt: Receipt, state: VisitorState | None) -> Iterable[str]:
    """Sessions that the event can be in."""
    if receipt.session_id:
        return [receipt.session_id]
    at, slack = receipt.occurred_at, MINUTE_MS
    sessions = state.sessions if state else []
    return [one.id for one in sessions if one.started_at - slack <= at <= one.last_at + slack]


def _incarnation(receipt: Receipt, watermark: Watermark | None, state: VisitorState | None) -> int:
    """Which creation of the stream the receipt is about; 0 when nothing says so.

    A stream that was created after the event came is another one: what is counted of it says nothing.
    """
    known = [watermark.incarnation] if watermark else []
    if state and state.mark:
        known.append(int(state.mark.partition("/")[0]))
    return max((one for one in known if one <= receipt.received_at + CLOCK_SKEW_MS), default=0)


def _is_beyond(watermark: Watermark, receipt: Receipt) -> bool:
    if watermark.incarnation > receipt.received_at + CLOCK_SKEW_MS:
        return False
    return watermark.closed or watermark.as_of > receipt.acknowledged_at + CLOCK_SKEW_MS


def _place_of(mark: str) -> tuple[str, str, int]:
    """Shard, sequence number and index of a mark."""
    _, shard, number, index = mark.split("/")
    return shard, number[3:], int(index)
