"""Decides when a shard's pending work is flushed, and how much of it.

In: the time, and how much is pending. Out: which flush is due. Nothing is written here.
"""

from __future__ import annotations

from enum import Enum

from liveinsight.model.clock import Clock
from processor.shard.options import ProcessorOptions

BEHIND_MS = 5_000
"""A shard that is further behind catches up first and writes all counters at the next full flush. One write of an item
then holds the events of seconds instead of one, and its numbers would be late anyway."""
REST_FACTOR = 2
"""While records come, no flush begins for this many times the duration of the last one."""
LONGEST_REST_MS = 10_000


class Flush(Enum):
    """The kinds of flush."""

    COUNTERS = "the counters of the fast cadence"
    PREVIEWS = "the counters of the medium cadence, and previews of the rest"
    ALL = "everything, then the checkpoint"


class FlushSchedule:
    """The due times of one shard. A flush also does the work of the smaller ones."""

    def __init__(self, options: ProcessorOptions, clock: Clock) -> None:
        self._clock = clock
        self._intervals_ms = {
            Flush.COUNTERS: round(options.counters_interval * 1000),
            Flush.PREVIEWS: round(options.previews_interval * 1000),
            Flush.ALL: round(options.sessions_interval * 1000),
        }
        self._pending_limit = options.pending_limit
        self._due_at = dict.fromkeys(Flush, clock())
        self._rest_until = 0

    def due(self, *, pending: int, has_records: bool, millis_behind: int) -> Flush | None:
        """The flush to make after a batch.

        Args:
            pending: contributions that are not written.
            has_records: whether the batch had records; without, the shard is quiet and needs no rest.
            millis_behind: how far the shard is behind.
        """
        now = self._clock()
        if pending > self._pending_limit:
            return Flush.ALL
        if has_records and now < self._rest_until:
            return None
        allowed = [Flush.ALL] if millis_behind >= BEHIND_MS else [Flush.ALL, Flush.PREVIEWS, Flush.COUNTERS]
        return next((flush for flush in allowed if now >= self._due_at[flush]), None)

    def done(self, flush: Flush, began: int) -> int:
        """A flush that began at `began` has ended; returns how long it took, in ms.

        A long one is followed by a rest, so that most time is left for records, and one write holds more of them.
        """
        now = self._clock()
        took = now - began
        self._rest_until = now + min(REST_FACTOR * took, LONGEST_REST_MS)
        for each, interval in self._intervals_ms.items():
            self._due_at[each] = now + interval
            if each is flush:
                break
        return took
