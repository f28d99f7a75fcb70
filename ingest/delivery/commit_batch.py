"""What waits for the stream, and what goes onto it together. Pure but for the locks that tickets sleep on.

    request -> Ticket (its events, packed) -> WaitingLine -> Batch (records, shared by tickets) -> PutRecords

Events of one virtual bucket that wait at the same time share a record, whichever requests they came with. A ticket is
settled when the last of its records is acknowledged, or when the first of them is given up.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Raw

from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import Event, pack_event, pack_record, partition_key
from liveinsight.storage.stream import MAX_BYTES_PER_PUT, MAX_RECORD_BYTES, MAX_RECORDS_PER_PUT, OutRecord, PutOutcome

_EVENT_OVERHEAD = 24
"""Bytes that an event costs beside its own: at worst its record's header and partition key."""


class Ticket:
    """A request that waits for its events to be acknowledged."""

    __slots__ = ("batch", "entered_at", "error", "following", "gone", "packed", "pending", "size", "wake", "woken")

    def __init__(self, events: Sequence[Event], entered_at: float = 0.0) -> None:
        packed = [pack_event(event) for event in events]
        self.packed = [
            (partition_key(event.visitor), Raw(data), len(data) + _EVENT_OVERHEAD)
            for event, data in zip(events, packed, strict=True)
        ]
        self.size = sum(map(len, packed)) + _EVENT_OVERHEAD * len(packed)
        self.entered_at = entered_at
        self.pending = -1
        """Records that are not acknowledged yet; below zero while it is in no batch."""
        self.error: LiveInsightError | None = None
        self.batch: Batch | None = None
        """Set when this ticket's thread is to carry on with what is left of a batch."""
        self.gone = False
        """Nobody waits any more."""
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
            keys.update([packed[0] for packed in ticket.packed])
            # Two records of one key, one after the other, are together above the limit of a record, or they were one.
            most_records = len(keys) + 2 * size // MAX_RECORD_BYTES
            if taken and (size > MAX_BYTES_PER_PUT or most_records > MAX_RECORDS_PER_PUT):
                break
            taken.append(self._tickets.popleft())
            self._bytes -= ticket.size
            self._events -= len(ticket.packed)
        return taken


class _Shared:
    """A record that is filled by tickets."""

    __slots__ = ("events", "key", "last", "size", "tickets")

    def __init__(self, key: str) -> None:
        self.key = key
        self.size = _EVENT_OVERHEAD
        self.events: list[Raw] = []
        self.tickets: list[Ticket] = []
        self.last: Ticket | None = None


class Batch:
    """Records of some tickets that are on their way. Belongs to one thread at a time."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        filling: dict[str, _Shared] = {}
        made: list[_Shared] = []
        for ticket in tickets:
            ticket.pending = 0
            for key, event, size in ticket.packed:
                shared = filling.get(key)
                if shared is None or shared.size + size > MAX_RECORD_BYTES:
                    shared = filling[key] = _Shared(key)
                    made.append(shared)
                shared.events.append(event)
                shared.size += size
                if shared.last is not ticket:
                    shared.last = ticket
                    shared.tickets.append(ticket)
                    ticket.pending += 1
        self._left = [(OutRecord(one.key, pack_record(one.events)), one.tickets) for one in made]
        self.attempts = 0

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def records(self) -> list[OutRecord]:
        """What is to be put, in order."""
        return [record for record, _ in self._left]

    def waiting(self) -> Iterator[Ticket]:
        """Tickets that have records left and somebody who waits for them."""
        for _, tickets in self._left:
            yield from (ticket for ticket in tickets if ticket.pending and not ticket.gone)

    def settle(self, outcomes: Sequence[PutOutcome]) -> list[Ticket]:
        """Note what the stream said; gives the tickets that have all they wait for now."""
        settled: list[Ticket] = []
        left: list[tuple[OutRecord, list[Ticket]]] = []
        for entry, outcome in zip(self._left, outcomes, strict=True):
            if not outcome.sequence_number:
                left.append(entry)
                continue
            for ticket in entry[1]:
                ticket.pending -= 1
                if not ticket.pending:
                    settled.append(ticket)
        self._left = left
        self.attempts += 1
        return settled

    def drop_unawaited(self) -> None:
        """Forget records that nobody waits for any more: their events were not promised to anybody."""
        self._left = [entry for entry in self._left if any(not ticket.gone for ticket in entry[1])]

    def give_up(self, error: LiveInsightError) -> None:
        """Tell all tickets that still wait why they wait in vain."""
        for _, tickets in self._left:
            for ticket in tickets:
                if ticket.pending and ticket.error is None:
                    # One for each thread: raising an exception writes into it.
                    ticket.error = copy.copy(error)
                    ticket.rouse()
        self._left = []
