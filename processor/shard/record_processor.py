"""One shard's records, driven by five calls: those that the Kinesis Client Library makes.

This order makes counting exact, whatever dies between two writes:

    process_records   decode -> load visitors -> fold -> pending
    flush             1. counters: the few that do not grow with traffic (totals, live minutes) every
                         `counters_interval`, live visitors every `previews_interval`, all of them
                         every `sessions_interval`, and then
                      ---- barrier ----
                      2. timelines, dead letters, visitors
                      ---- barrier ----
                      3. checkpoint

Every `previews_interval` readers get a preview of what the next full flush will write; nothing depends on it.

A record at or below its visitor's mark is skipped: its counters are stored, because step 1 came before step 2.
Flushes happen between batches only. A failed write is retried; if it keeps failing, `FlushAbandoned` ends the process
before any checkpoint can pass it. `TooManyDeadLetters` also ends it: a producer or worker of the wrong version must not
drain the stream into dead letters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from liveinsight.counting.fold import fold
from liveinsight.counting.layout import Cadence
from liveinsight.counting.previews import PREVIEW_DAYS
from liveinsight.model.clock import Clock
from liveinsight.model.errors import FlushAbandoned, StoreUnavailable
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.storage.store import SHARD_END, DeadLetter, ProcessorStore, Watermark
from liveinsight.storage.stream import Record
from processor.shard.checkpoints import Checkpointer
from processor.shard.counter_writer import CounterWriter
from processor.shard.dead_letter_limit import DeadLetterLimit
from processor.shard.flush_schedule import Flush, FlushSchedule
from processor.shard.options import ProcessorOptions
from processor.shard.progress import Progress, ShardMetrics
from processor.shard.record_decoder import MarkedEvent, RecordDecoder
from processor.shard.visitor_writer import VisitorWriter

logger = logging.getLogger(__name__)

READ_MARGIN_MS = 250
"""A batch arrives here a moment after it was read: records that arrived in between are not claimed as counted."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0


class RecordProcessor:
    """Counts one shard. Not thread safe.

    Args:
        store: where everything is written.
        incarnation: of the stream.
        options: cadences and limits.
        clock: current time.
        sleep: waits between attempts.
        limit: the count of dead letters to continue; a new one by default.
        metrics: where work is reported.
        viewed: gives the sites that are looked at: only they are previewed (None: all).
    """

    def __init__(
        self,
        store: ProcessorStore,
        incarnation: int,
        options: ProcessorOptions,
        clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
        *,
        limit: DeadLetterLimit | None = None,
        metrics: WorkerMetrics | None = None,
        viewed: Callable[[], Collection[str] | None] = lambda: None,
    ) -> None:
        self._store = store
        self._incarnation = incarnation
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._limit = limit or DeadLetterLimit(options.dead_letter_limit)
        self._visitors = VisitorWriter(store, options)
        self._dead_letters: list[DeadLetter] = []
        self._last_sequence = ""
        self._as_of = self._stored_as_of = self._previewed_as_of = 0
        self._dirty_since_checkpoint = False
        self._worker_metrics = metrics
        self._viewed = viewed
        self._previewed_sites: tuple[str, ...] | None = None
        self.progress = Progress()

    def initialize(self, shard_id: str, sequence_number: str) -> None:
        """A lease begins: the shard, and the checkpoint to continue from ("" at a first start)."""
        self._shard_id = shard_id
        self._decoder = RecordDecoder(shard_id, self._incarnation, self._limit)
        self._counters = CounterWriter(self._store, shard_id, self._options)
        self._schedule = FlushSchedule(self._options, self._clock)
        self._metrics = ShardMetrics(self._worker_metrics, shard_id)
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
            self._take(records)
        self._metrics.processed(self.progress, millis_behind)
        self._as_of = max(as_of, self._as_of)
        pending = self._counters.pending
        due = self._schedule.due(pending=pending, has_records=bool(records), millis_behind=millis_behind)
        if due is Flush.COUNTERS:
            self._flush_counters()
        elif due is Flush.ALL or (due is Flush.PREVIEWS and not self._publish_previews()):
            self._flush_all(checkpointer, self._deadline())

    def lease_lost(self) -> None:
        """Another worker has the shard: it counts whatever is not written here."""
        self._metrics.ended()
        logger.warning("lease lost", extra={"action": "lease_lost", "shard": self._shard_id})

    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """The shard is closed and read to its end."""
        self._last_sequence = SHARD_END
        self._dirty_since_checkpoint = True
        self._flush_all(checkpointer, self._deadline(), closed=True)
        self._metrics.ended()
        logger.info("shard ended", extra={"action": "shard_ended", "shard": self._shard_id})

    def shutdown_requested(self, checkpointer: Checkpointer) -> None:
        """The last chance to write and checkpoint."""
        self._flush_all(checkpointer, self._clock() + round(self._options.drain_within * 1000))
        logger.info("drained", extra={"action": "shutdown", "shard": self._shard_id})

    def _take(self, records: Sequence[Record]) -> None:
        """Decode and fold a batch."""
        decoded = self._decoder.decode(records)
        for letter in decoded.dead_letters:
            extra = {"action": "dead_letter", "shard": self._shard_id, "mark": letter.mark, "reason": letter.reason}
            logger.warning("record kept as a dead letter", extra=extra)
        self._dead_letters += decoded.dead_letters
        self.progress.dead_letters += len(decoded.dead_letters)
        size = self._options.fold_slice
        for start in range(0, len(decoded.events), size):
            self._fold(decoded.events[start : start + size])
        self._last_sequence = records[-1].sequence_number
        self._dirty_since_checkpoint = True
        self.progress.records += len(records)

    def _fold(self, marked: Sequence[MarkedEvent]) -> None:
        visitors, counters = self._visitors, self._counters
        keys = [(event.site, event.visitor) for _, event in marked]
        self._retry(lambda: visitors.load(keys), self._deadline())
        for (mark, event), key in zip(marked, keys, strict=True):
            folded = fold(visitors.state(key), event, mark)
            if folded.contributions:
                counters.add(folded.contributions)
                visitors.touched(key, folded, mark, event)
            else:
                self.progress.skipped += 1
        self.progress.events += len(marked)

    def _flush_counters(self) -> None:
        began = self._clock()
        if self._counters.pending:
            self._write_counters(Cadence.FAST, self._deadline())
            self._retry(self._publish_watermark, self._deadline())
        self._metrics.flushed(Flush.COUNTERS, self._schedule.done(Flush.COUNTERS, began))

    def _publish_previews(self) -> bool:
        """Show what is pending before it is written; False when it is too much for a preview.

        A preview that the store does not take is dropped: the next one is due soon.
        """
        began = self._clock()
        if self._counters.pending:
            self._write_counters(Cadence.MEDIUM, self._deadline())
            try:
                sites = self._viewed()
                if (sites is None or sites) and not self._write_previews(sites, began // 1000):
                    return False
            except StoreUnavailable as error:
                self._unavailable(error)
        else:
            self._previewed_as_of, self._previewed_sites = self._as_of, None
        self._retry(self._publish_watermark, self._deadline())
        self._metrics.flushed(Flush.PREVIEWS, self._schedule.done(Flush.PREVIEWS, began))
        return True

    def _write_previews(self, sites: Collection[str] | None, now_seconds: int) -> bool:
        expires_at = now_seconds + PREVIEW_DAYS * 86_400
        counters = self._counters.previews(expires_at, sites)
        if counters is None:
            return False
        self._store.write_previews(self._shard_id, counters, self._visitors.previews(expires_at, sites))
        self._counters.previewed()
        self._visitors.previewed(sites)
        self._previewed_as_of = self._as_of
        self._previewed_sites = None if sites is None else tuple(sorted(sites))
        return True

    def _write_counters(self, up_to: Cadence, give_up_at: int) -> None:
        self._retry(lambda: self._counters.flush(up_to), give_up_at)
        self.progress.counter_writes = self._counters.written

    def _flush_all(self, checkpointer: Checkpointer, give_up_at: int, *, closed: bool = False) -> None:
        began = self._clock()
        self._write_counters(Cadence.SLOW, give_up_at)
        self._retry(self._write_dead_letters, give_up_at)
        self._retry(self._visitors.flush, give_up_at)
        self.progress.visitor_writes = self._visitors.written
        self._stored_as_of = self._as_of
        # Before the checkpoint: after the checkpoint of its end, no worker returns to a shard to close its watermark.
        self._retry(lambda: self._publish_watermark(closed=closed), give_up_at)
        if self._dirty_since_checkpoint:
            self._retry(lambda: checkpointer.checkpoint(self._last_sequence), give_up_at)
            self._dirty_since_checkpoint = False
        self._metrics.flushed(Flush.ALL, self._schedule.done(Flush.ALL, began))

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
                None if self._stored_as_of >= self._previewed_as_of else self._previewed_sites,
            )
        )

    def _deadline(self) -> int:
        """The time at which a flush that begins now is given up; its steps share it."""
        return self._clock() + round(self._options.give_up_after * 1000)

    def _retry(self, step: Callable[[], bool | None], give_up_at: int) -> None:
        """Repeat `step` until it neither fails nor returns False, which says that something is left to write."""
        pause = FIRST_PAUSE_SECONDS
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
            self._metrics.retried()
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _unavailable(self, error: StoreUnavailable) -> None:
        logger.warning("store unavailable", extra={"action": "retry", "shard": self._shard_id, "problem": str(error)})
