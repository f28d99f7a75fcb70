"""Group commit, the one sender of events: requests that wait at the same time share PutRecords calls.

In: the events of a request. Out: the request returns when all of them are acknowledged, or raises; then it may be sent
again whole, as repeated events are recognised downstream.

    idle                   a request's own thread puts its events at once
    calls are under way    the first to come gathers others for a few ms, then puts for all
    all calls taken        requests queue; the thread that ends a call passes the next one on to the head of the queue

It has no thread of its own: nothing has to be started after a fork, and only requests have to be drained at the end.
Records that the stream refuses are put again while a request waits for them.

Calls that are under way together may reach a shard in either order. That changes nothing: the tracker sends a
visitor's next events when it has the answer to the last ones, events carry their own times, and the fold comes to the
same visits in whichever order they arrive within the session gap (`tests/liveinsight/counting/test_properties.py`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.delivery.commit_batch import CommitBatch, Placement, Ticket, WaitingLine, wake_in_turn
from liveinsight.model.errors import LiveInsightError, StreamUnavailable
from liveinsight.model.events import Event
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.storage.stream import Sink

_GAUGE_EVERY = 8


class QueueFull(StreamUnavailable):
    """Too many requests wait already: the stream is slower than the traffic."""


@dataclass(frozen=True)
class Retries:
    """How often and how long refused records are put again: exponential backoff with full jitter, in seconds.

    A call that fails as a whole is not made again here: the stream's client has retried already, and a server whose
    threads all wait for a stream that is down answers no request.
    """

    deadline: float = 2.0
    first_wait: float = 0.05
    longest_wait: float = 0.8
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1."""
    elapsed: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Pace:
    """How much may wait, and for how long."""

    waiting_requests: int = 224
    """Of one process; fewer than it has threads, so that some are left to say 503."""
    waiting_bytes: int = 32 * 1024 * 1024
    calls: int = 8
    """PutRecords calls under way at once."""
    linger: float = 0.004
    """Seconds that the first gathers others, while another call is under way."""


class GroupCommit:
    """Puts events onto a stream for many threads at once. Thread safe, and safe to be made before a fork.

    Args:
        stream: where records go.
        retries: when refused records are put again, and how long a request waits at most.
        pace: how much may wait.
        metrics: counts calls, records and waiting requests; None counts nothing.
    """

    def __init__(
        self,
        stream: Sink,
        retries: Retries | None = None,
        pace: Pace | None = None,
        metrics: IngestMetrics | None = None,
    ) -> None:
        self._stream = stream
        self._retries = retries or Retries()
        self._pace = pace or Pace()
        self._metrics = metrics
        self._lock = threading.Lock()
        self._line = WaitingLine()
        self._gatherer: Ticket | None = None
        self._under_way = 0
        self.requests = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether the next request would be turned away."""
        return self.requests >= self._pace.waiting_requests or self._bytes >= self._pace.waiting_bytes

    def __call__(self, events: Sequence[Event], *, locate: bool = False) -> list[Placement]:
        """Put all events; returns when they are acknowledged, with their placements if `locate`.

        Raises:
            QueueFull: at once, when too much waits already.
            StreamUnavailable: nothing is promised; send them all again.
        """
        ticket = Ticket(events, self._retries.elapsed(), locate=locate)
        leads, linger = self._enter(ticket)
        try:
            if leads:
                if linger:
                    ticket.wake.acquire(timeout=linger)
                self._lead(ticket)
            else:
                self._follow(ticket)
        finally:
            self._leave(ticket)
            if ticket.following:
                ticket.following.rouse()
        if ticket.error:
            raise ticket.error
        # Nothing above lets it come to this; but this is the line that promises.
        if ticket.pending:
            raise StreamUnavailable("some records were not acknowledged")
        return [ticket.placements[number] for number in range(len(events))] if ticket.placements else []

    def _enter(self, ticket: Ticket) -> tuple[bool, float]:
        with self._lock:
            if self.full:
                raise QueueFull("too many requests wait for the stream")
            self.requests += 1
            self._bytes += ticket.size
            self._update_gauges()
            self._line.append(ticket)
            if self._gatherer is None and self._under_way < self._pace.calls:
                self._gatherer = ticket
                return True, self._pace.linger if self._under_way else 0.0
            if self._gatherer is not None and self._line.fills_a_call:
                self._gatherer.rouse()
            return False, 0.0

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self.requests -= 1
            self._bytes -= ticket.size
            self._update_gauges()

    def _follow(self, ticket: Ticket) -> None:
        if not ticket.wake.acquire(timeout=self._retries.deadline):
            with self._lock:
                if not ticket.woken:
                    ticket.gone = True
                    # Otherwise its records are acknowledged, and only its turn to be woken had not come.
                    if ticket.pending:
                        self._line.remove(ticket)
                        ticket.error = StreamUnavailable("the stream has not answered in time")
                        return
        if ticket.batch is not None:
            self._carry(ticket.batch, ticket)
        elif self._gatherer is ticket:
            self._lead(ticket)

    def _lead(self, ticket: Ticket) -> None:
        with self._lock:
            tickets = self._line.take()
            self._gatherer = None
            self._under_way += 1
            self._pass_on()
        batch = CommitBatch(tickets)
        if self._metrics:
            self._metrics.call_events.observe(sum(len(one.packed) for one in tickets))
        self._carry(batch, ticket)

    def _pass_on(self) -> None:
        """Let the head of the queue make the next call, if one may be made. Holds the lock."""
        if self._line and self._gatherer is None and self._under_way < self._pace.calls:
            self._gatherer = self._line.head
            self._gatherer.rouse()

    def _finish(self) -> None:
        with self._lock:
            self._under_way -= 1
            if self._gatherer is None:
                self._pass_on()
            elif not self._under_way:
                # No other call is under way: gathering longer gains nothing.
                self._gatherer.rouse()

    def _carry(self, batch: CommitBatch, own: Ticket) -> None:
        """Put what is left of a batch until all is taken, or a thread that has to wait longer carries on with it."""
        handed_over = False
        error: LiveInsightError = StreamUnavailable("the call was abandoned")
        try:
            while batch:
                if batch.refusals and not self._pause(batch, own):
                    own.gone = True
                    own.error = StreamUnavailable("the stream has not taken all records in time")
                    handed_over = self._hand_over(batch)
                    return
                settled = batch.settle(self._stream.put(batch.records))
                if self._metrics:
                    self._metrics.accepted.inc(sum(len(ticket.packed) for ticket in settled))
                with self._lock:
                    wake_in_turn([ticket for ticket in settled if ticket is not own])
                if batch and not own.pending:
                    handed_over = self._hand_over(batch)
                    return
                batch.drop_unawaited()
        except StreamUnavailable as problem:
            error = problem
        finally:
            # After any error all tickets are woken, and the next call is made.
            if not handed_over:
                batch.give_up(error)
                self._finish()

    def _pause(self, batch: CommitBatch, own: Ticket) -> bool:
        """Wait before the next attempt; False when the thread's own request cannot wait as long."""
        retries = self._retries
        wait = min(retries.first_wait * 2 ** (batch.refusals - 1), retries.longest_wait)
        pause = retries.jitter() * wait
        if retries.elapsed() + pause > own.entered_at + retries.deadline:
            return False
        retries.sleep(pause)
        if self._metrics:
            self._metrics.retried_records.inc(len(batch.records))
        return True

    def _hand_over(self, batch: CommitBatch) -> bool:
        """Let another thread that waits for a part of the batch put the rest, if there is one."""
        with self._lock:
            heir = next((ticket for ticket in batch.waiting() if not ticket.woken), None)
            if heir is None:
                return False
            heir.batch = batch
            heir.rouse()
            return True

    def _update_gauges(self) -> None:
        # A gauge costs as much as the rest of this. It is right to within a few requests, and about an empty queue.
        if self._metrics and self.requests % _GAUGE_EVERY == 0:
            self._metrics.waiting_requests.set(self.requests)
            self._metrics.waiting_bytes.set(self._bytes)
