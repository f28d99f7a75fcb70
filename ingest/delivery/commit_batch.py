"""Groups the events of requests into records, and records into PutRecords calls. Pure but for the tickets' locks.

    request -> Ticket (packed events) -> WaitingLine -> CommitBatch (records, shared by tickets) -> PutRecords

Events of one virtual bucket that wait at the same time share a record, whichever requests they came with. A ticket is
settled when its last record is acknowledged, or when one of its records is given up.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Raw, Struct

from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import Event, encode_record, pack_event, partition_key
from liveinsight.storage.stream import MAX_BYTES_PER_PUT, MAX_RECORD_BYTES, MAX_RECORDS_PER_PUT, OutRecord, PutOutcome

_EVENT_OVERHEAD = 24
"""Bytes that an event costs beside its own: at worst its record's header and partition key."""
_AWAKE_AT_ONCE = 2
"""Of the threads that a call wakes: one that has the interpreter, and one that is on its way to it."""


class Placement(Struct, frozen=True, gc=False):
    """Where an event is on the stream: shard, record, and index in the record."""

    shard_id: str
    sequence_number: str
    index: int


class PackedEvent(Struct, frozen=True, gc=False):
    """An encoded event; `size` is what it adds to a call, in bytes."""

    partition_key: str
    data: Raw
    size: int


class Ticket:
    """A request that waits for its events to be acknowledged.

    Args:
        events: what is to be put.
        entered_at: seconds of the time that the deadline is measured in.
        locate: fill `placements`.
    """

    __slots__ = (
        "batch", "entered_at", "error", "following", "gone", "packed", "pending", "placements", "size", "wake", "woken",
    )  # fmt: skip

    def __init__(self, events: Sequence[Event], entered_at: float = 0.0, *, locate: bool = False) -> None:
        self.packed = [_packed(event) for event in events]
        self.size = sum(packed.size for packed in self.packed)
        self.placements: dict[int, Placement] | None = {} if locate else None
        """By index of the event; None unless asked for."""
        self.entered_at = entered_at
        self.pending = -1
        """Records that are not acknowledged yet; below zero while it is in no batch."""
        self.error: LiveInsightError | None = None
        self.batch: CommitBatch | None = None
        """Set when this ticket's thread is to put the rest of a batch."""
        self.gone = False
        """The request no longer waits."""
        self.woken = False
        self.following: Ticket | None = None
        """Whose thread this ticket's thread wakes, once it is awake itself."""
        self.wake = threading.Lock()
        # Its thread sleeps on acquiring it a second time. An Event would cost ten times as much.
        self.wake.acquire()

    def rouse(self) -> None:
        """Wake the thread that sleeps on this ticket. Once is enough."""
        if not self.woken:
            self.woken = True
            self.wake.release()


def _packed(event: Event) -> PackedEvent:
    data = pack_event(event)
    return PackedEvent(partition_key(event.visitor), Raw(data), len(data) + _EVENT_OVERHEAD)


def wake_in_turn(settled: Sequence[Ticket]) -> None:
    """Wake settled tickets one after another: a hundred threads at once would contend for the interpreter lock.

    The caller holds the lock that guards `woken`.
    """
    # A ticket that is gone wakes no other.
    asleep = [ticket for ticket in settled if not ticket.gone]
    for ticket, following in zip(asleep, asleep[_AWAKE_AT_ONCE:], strict=False):
        ticket.following = following
    for ticket in asleep[:_AWAKE_AT_ONCE]:
        ticket.rouse()


class WaitingLine:
    """Tickets in the order of their arrival."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._bytes = 0
        self._events = 0

    def __bool__(self) -> bool:
        return bool(self._tickets)

    @property
    def head(self) -> Ticket:
        """The ticket that has waited longest."""
        return self._tickets[0]

    @property
    def fills_a_call(self) -> bool:
        """Whether waiting for more would gain nothing."""
        return self._events >= MAX_RECORDS_PER_PUT or self._bytes >= MAX_BYTES_PER_PUT

    def append(self, ticket: Ticket) -> None:
        """Add a ticket at the end."""
        self._tickets.append(ticket)
        self._bytes += ticket.size
        self._events += len(ticket.packed)

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out, if it is still here."""
        try:
            self._tickets.remove(ticket)
        except ValueError:
            return
        self._bytes -= ticket.size
        self._events -= len(ticket.packed)

    def take(self) -> list[Ticket]:
        """The tickets that go with the next PutRecords call: at least one, as many as it surely carries."""
        taken: list[Ticket] = []
        keys: set[str] = set()
        size = 0
        while self._tickets:
            ticket = self._tickets[0]
            size += ticket.size
            keys.update([packed.partition_key for packed in ticket.packed])
            # Two successive records of one key are together above the limit of a record, or they would be one.
            most_records = len(keys) + 2 * size // MAX_RECORD_BYTES
            if taken and (size > MAX_BYTES_PER_PUT or most_records > MAX_RECORDS_PER_PUT):
                break
            taken.append(self._tickets.popleft())
            self._bytes -= ticket.size
            self._events -= len(ticket.packed)
        return taken


class _Located(Struct):
    """An event whose placement is asked for: its index in the ticket and in the record."""

    placements: dict[int, Placement]
    number: int
    index: int


class _Filling:
    """A record that tickets fill."""

    __slots__ = ("events", "key", "last", "located", "size", "tickets")

    def __init__(self, key: str) -> None:
        self.key = key
        self.size = _EVENT_OVERHEAD
        self.events: list[Raw] = []
        self.tickets: list[Ticket] = []
        self.last: Ticket | None = None
        self.located: list[_Located] = []


class _Shared(Struct):
    """A record, and the tickets that wait for it."""

    record: OutRecord
    tickets: list[Ticket]
    located: list[_Located]


class CommitBatch:
    """The records of some tickets, put with one PutRecords call or more. Belongs to one thread at a time."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        filling: dict[str, _Filling] = {}
        made: list[_Filling] = []
        for ticket in tickets:
            ticket.pending = 0
            for number, event in enumerate(ticket.packed):
                record = filling.get(event.partition_key)
                if record is None or record.size + event.size > MAX_RECORD_BYTES:
                    record = filling[event.partition_key] = _Filling(event.partition_key)
                    made.append(record)
                if ticket.placements is not None:
                    record.located.append(_Located(ticket.placements, number, len(record.events)))
                record.events.append(event.data)
                record.size += event.size
                if record.last is not ticket:
                    record.last = ticket
                    record.tickets.append(ticket)
                    ticket.pending += 1
        self._left = [_Shared(OutRecord(one.key, encode_record(one.events)), one.tickets, one.located) for one in made]
        self.refusals = 0
        """Successive calls of which the stream has refused a part."""

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def records(self) -> list[OutRecord]:
        """The records of the next PutRecords call, in order."""
        call: list[OutRecord] = []
        size = 0
        for shared in self._left:
            record = shared.record
            size += len(record.data) + len(record.partition_key)
            if call and (len(call) == MAX_RECORDS_PER_PUT or size > MAX_BYTES_PER_PUT):
                break
            call.append(record)
        return call

    def waiting(self) -> Iterator[Ticket]:
        """Tickets with records left whose request still waits."""
        for shared in self._left:
            yield from (ticket for ticket in shared.tickets if ticket.pending and not ticket.gone)

    def settle(self, outcomes: Sequence[PutOutcome]) -> list[Ticket]:
        """Apply the stream's answer to `records`; returns the tickets that it completes."""
        settled: list[Ticket] = []
        refused: list[_Shared] = []
        for shared, outcome in zip(self._left, outcomes, strict=False):
            if not outcome.sequence_number:
                refused.append(shared)
                continue
            for at in shared.located:
                at.placements[at.number] = Placement(outcome.shard_id, outcome.sequence_number, at.index)
            for ticket in shared.tickets:
                ticket.pending -= 1
                if not ticket.pending:
                    settled.append(ticket)
        self._left = refused + self._left[len(outcomes) :]
        self.refusals = self.refusals + 1 if refused else 0
        return settled

    def drop_unawaited(self) -> None:
        """Forget records that no request waits for any more: their events were never promised."""
        self._left = [shared for shared in self._left if any(not ticket.gone for ticket in shared.tickets)]

    def give_up(self, error: LiveInsightError) -> None:
        """Fail every pending ticket with `error`."""
        for shared in self._left:
            for ticket in shared.tickets:
                if ticket.pending and ticket.error is None:
                    # One for each thread: raising an exception writes into it.
                    ticket.error = copy.copy(error)
                    ticket.rouse()
        self._left = []
