"""One shard's records, driven by five calls: those that the Kinesis Client Library makes.

The order that makes counting exact, whatever dies between two writes:

    process_records   decode -> load visitors -> fold -> pending
    flush             1. counters: those that are few however many events there are (totals, live minutes) every
                         `counters_interval`, who is present and was seen every `previews_interval`, all of them
                         every `sessions_interval`, and then
                      ---- barrier ----
                      2. timelines, dead letters, visitors
                      ---- barrier ----
                      3. checkpoint

Every `previews_interval` readers get a preview of what waits for the next full flush; nothing depends on it.

A record at or below its visitor's mark is skipped: its counters are in, because step 1 came before step 2.
Flushes happen only between records' batches. What cannot be written is kept and tried again; if that is
hopeless, `FlushAbandoned` ends the process before any checkpoint can pass it. So does `TooManyDeadLetters`: a
producer or worker that was deployed wrongly must not drain the stream into dead letters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from liveinsight.counting.fold import fold
from liveinsight.counting.layout import Cadence
from liveinsight.counting.previews import PREVIEW_DAYS
from liveinsight.model.clock import Clock
from liveinsight.model.errors import FlushAbandoned, StoreUnavailable, UndecodableRecord
from liveinsight.model.events import Event, decode_record
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.storage.store import SHARD_END, DeadLetter, ProcessorStore, Watermark
from liveinsight.storage.stream import Record
from processor.shard.counter_writer import CounterWriter
from processor.shard.dead_letter_limit import DeadLetterLimit
from processor.shard.visitor_writer import VisitorWriter

logger = logging.getLogger(__name__)

FOLD_SLICE = 250
"""Events folded in one step: their visitors' states are objects meanwhile, and should fit the processor's cache."""
READ_MARGIN_MS = 250
"""A batch is seen a moment after it was read: what arrived in between is not claimed to be counted."""
PENDING_LIMIT = 100_000
"""Contributions that may wait before a flush is forced: some 12,000 events, or 30 MB."""
BEHIND_MS = 5_000
"""A shard that is further behind catches up first: all counters then wait for the next full flush, as one write of an
item then holds the events of seconds instead of one, and nobody is served by numbers that are late anyway."""
REST_SHARE = 2
"""Times its own duration that a flush is followed by none, while records come."""
LONGEST_REST_MS = 10_000
DEAD_LETTER_DAYS = 30


class Checkpointer(Protocol):
    """Moves the shard's checkpoint: a sequence number, or `SHARD_END`."""

    def checkpoint(self, sequence_number: str) -> None:
        """Everything up to here is stored."""


@dataclass(frozen=True)
class ProcessorOptions:
    """Cadences and limits, in seconds unless the name says days."""

    counters_interval: float = 1.0
    previews_interval: float = 5.0
    sessions_interval: float = 60.0
    session_days: int = 7
    timeline_days: int = 30
    give_up_after: float = 300.0
    drain_within: float = 20.0
    dead_letter_limit: float = 0.2


@dataclass
class Progress:
    """What a processor has done since it started."""

    records: int = 0
    events: int = 0
    skipped: int = 0
    dead_letters: int = 0
    counter_writes: int = 0
    visitor_writes: int = 0


class RecordProcessor:
    """Counts one shard. Not shared between threads."""

    def __init__(
        self,
        store: ProcessorStore,
        incarnation: int,
        options: ProcessorOptions,
        clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = store
        self._incarnation = incarnation
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._visitors = VisitorWriter(store, session_days=options.session_days, timeline_days=options.timeline_days)
        self._dead_letters: list[DeadLetter] = []
        self._limit = DeadLetterLimit(options.dead_letter_limit)
        self._last_sequence = ""
        self._as_of = self._stored_as_of = self._previewed_as_of = 0
        self._rest_until = 0
        self._dirty_since_checkpoint = False
        self.progress = Progress()

    def initialize(self, shard_id: str, sequence_number: str) -> None:
        """A lease begins: the shard, and the checkpoint to go on from ("" at a first start)."""
        self._shard_id = shard_id
        self._prefix = mark_prefix(self._incarnation, shard_id)
        self._counters = CounterWriter(self._store, shard_id)
        self._counters_due = self._previews_due = self._sessions_due = self._clock()
        logger.info("shard begins", extra={"action": "initialize", "shard": shard_id, "after": sequence_number})

    def process_records(self, records: Sequence[Record], checkpointer: Checkpointer, millis_behind: int) -> None:
        """Fold a batch, and flush what is due. An empty batch is a tick.

        Raises:
            FlushAbandoned: the process must exit without a checkpoint.
            TooManyDeadLetters: likewise, with nothing of this batch folded or kept as dead letters.
        """
        # Taken before the fold, which may wait for the store while new records arrive.
        as_of = self._clock() - millis_behind - READ_MARGIN_MS
        if records:
            self._fold_batch(self._decode(records))
            self._last_sequence = records[-1].sequence_number
            self._dirty_since_checkpoint = True
            self.progress.records += len(records)
        self._as_of = max(as_of, self._as_of)
        now = self._clock()
        if self._counters.waiting > PENDING_LIMIT:
            self._flush_all(checkpointer, self._patience())
        elif records and now < self._rest_until:
            return
        elif now >= self._sessions_due:
            self._flush_all(checkpointer, self._patience())
        elif millis_behind >= BEHIND_MS:
            return
        elif now >= self._previews_due:
            if not self._publish_previews():
                self._flush_all(checkpointer, self._patience())
        elif now >= self._counters_due:
            self._flush_fresh()

    def lease_lost(self) -> None:
        """Somebody else has the shard: forget what was not written, they will count it."""
        logger.warning("lease lost", extra={"action": "lease_lost", "shard": self._shard_id})

    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """The shard is closed and read to its end."""
        self._last_sequence = SHARD_END
        self._dirty_since_checkpoint = True
        self._flush_all(checkpointer, self._patience(), closed=True)
        logger.info("shard ended", extra={"action": "shard_ended", "shard": self._shard_id})

    def shutdown_requested(self, checkpointer: Checkpointer) -> None:
        """The last chance to write and checkpoint."""
        self._flush_all(checkpointer, self._clock() + round(self._options.drain_within * 1000))
        logger.info("drained", extra={"action": "shutdown", "shard": self._shard_id})

    def _decode(self, records: Sequence[Record]) -> list[tuple[str, Event]]:
        marked: list[tuple[str, Event]] = []
        undecodable: list[tuple[Record, str, UndecodableRecord]] = []
        for record in records:
            prefix = record_mark(self._prefix, record.sequence_number)
            try:
                events = decode_record(record.data)
            except UndecodableRecord as error:
                self._limit.note_undecodable(self._shard_id, error)
                undecodable.append((record, prefix, error))
                continue
            self._limit.note_decoded()
            marked.extend((event_mark(prefix, index), event) for index, event in enumerate(events))
        for record, mark, problem in undecodable:
            self._keep(record, mark, problem)
        return marked

    def _keep(self, record: Record, mark: str, error: UndecodableRecord) -> None:
        self.progress.dead_letters += 1
        expires_at = record.arrived_at // 1000 + DEAD_LETTER_DAYS * 86_400
        self._dead_letters.append(
            DeadLetter(self._shard_id, mark, error.reason, str(error), record.data, record.arrived_at, expires_at)
        )
        logger.warning(
            "dead letter kept",
            extra={"action": "dead_letter", "shard": self._shard_id, "mark": mark, "reason": error.reason},
        )

    def _fold_batch(self, marked: list[tuple[str, Event]]) -> None:
        for start in range(0, len(marked), FOLD_SLICE):
            self._fold_slice(marked[start : start + FOLD_SLICE])

    def _fold_slice(self, marked: list[tuple[str, Event]]) -> None:
        visitors, counters = self._visitors, self._counters
        keys = [(event.site, event.visitor) for _, event in marked]
        self._retry(lambda: visitors.load(keys), self._patience())
        for (mark, event), key in zip(marked, keys, strict=True):
            folded = fold(visitors.state(key), event, mark)
            if folded.contributions:
                counters.add(folded.contributions)
                visitors.touched(key, folded, mark, event)
            else:
                self.progress.skipped += 1
        self.progress.events += len(marked)

    def _flush_fresh(self) -> None:
        began = self._clock()
        if self._counters.waiting:
            self._write_counters(Cadence.FAST, self._patience())
            self._retry(self._publish_watermark, self._patience())
        self._counters_due = self._done(began) + round(self._options.counters_interval * 1000)

    def _publish_previews(self) -> bool:
        """Whether what waits can be shown before it is written: False if it is too much. A preview that the store does
        not take is left out; the next one is due in any case."""
        began = self._clock()
        if self._counters.waiting:
            self._write_counters(Cadence.MEDIUM, self._patience())
            expires_at = began // 1000 + PREVIEW_DAYS * 86_400
            try:
                counters = self._counters.previews(expires_at)
                if counters is None:
                    return False
                self._store.write_previews(self._shard_id, counters, self._visitors.previews(expires_at))
            except StoreUnavailable as error:
                self._unavailable(error)
            else:
                self._counters.previewed()
                self._visitors.previewed()
                self._previewed_as_of = self._as_of
        else:
            self._previewed_as_of = self._as_of
        self._retry(self._publish_watermark, self._patience())
        now = self._done(began)
        self._counters_due = now + round(self._options.counters_interval * 1000)
        self._previews_due = now + round(self._options.previews_interval * 1000)
        return True

    def _write_counters(self, up_to: Cadence, give_up_at: int) -> None:
        self._retry(lambda: self._counters.flush(up_to), give_up_at)
        self.progress.counter_writes = self._counters.written

    def _done(self, began: int) -> int:
        """The time at the end of a flush that began then. One that took long is followed by a rest, so that most time
        is left for records and one write of an item holds the more of them; while none come there is no need of it."""
        now = self._clock()
        self._rest_until = now + min(REST_SHARE * (now - began), LONGEST_REST_MS)
        return now

    def _flush_all(self, checkpointer: Checkpointer, give_up_at: int, *, closed: bool = False) -> None:
        began = self._clock()
        self._write_counters(Cadence.SLOW, give_up_at)
        self._retry(self._write_dead_letters, give_up_at)
        self._retry(self._visitors.flush, give_up_at)
        self.progress.visitor_writes = self._visitors.written
        self._stored_as_of = self._as_of
        # Before the checkpoint: after that of a shard's end nobody comes back to close its watermark.
        self._retry(lambda: self._publish_watermark(closed=closed), give_up_at)
        if self._dirty_since_checkpoint:
            self._retry(lambda: checkpointer.checkpoint(self._last_sequence), give_up_at)
            self._dirty_since_checkpoint = False
        now = self._done(began)
        self._counters_due = now + round(self._options.counters_interval * 1000)
        self._previews_due = now + round(self._options.previews_interval * 1000)
        self._sessions_due = now + round(self._options.sessions_interval * 1000)

    def _write_dead_letters(self) -> None:
        if self._dead_letters:
            self._store.write_dead_letters(self._dead_letters)
            self._dead_letters = []

    def _publish_watermark(self, *, closed: bool = False) -> None:
        self._store.write_watermark(
            Watermark(
                self._shard_id,
                self._stored_as_of,
                closed,
                self._incarnation,
                self._as_of,
                max(self._previewed_as_of, self._stored_as_of),
            )
        )

    def _patience(self) -> int:
        """When to give up what begins now; all steps of a flush share it."""
        return self._clock() + round(self._options.give_up_after * 1000)

    def _retry(self, step: Callable[[], bool | None], give_up_at: int) -> None:
        """Repeat `step` until it does not fail and does not say that something is left (False)."""
        pause = 0.05
        while True:
            problem = "another writer is active"
            try:
                if step() is not False:
                    return
            except StoreUnavailable as error:
                problem = str(error)
                self._unavailable(error)
            if self._clock() >= give_up_at:
                raise FlushAbandoned(f"gave up on shard {self._shard_id}: {problem}")
            self._sleep(pause)
            pause = min(2 * pause, 5.0)

    def _unavailable(self, error: StoreUnavailable) -> None:
        logger.warning("store unavailable", extra={"action": "retry", "shard": self._shard_id, "problem": str(error)})
