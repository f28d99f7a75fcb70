"""Reads the counters of several generations as one.

A rebuild counts the stream again into a new generation, which has tables of its own. The pointer lists the active
generations and the site-local day from which each is read:

    day                    ... 19 20 | 21 22 23 ...      switched on the 22nd to generation 2, from the 21st on
    read from generation           1 | 2                 (the worker writes to generation 2)

In: a way to load the pointer, and the store of each generation. Out: a `ReadStore`. Promises: the totals and breakdowns
of a day come from the same generation. The worker writes only to the newest one, so a day without any data in its own
generation (of a log imported after the switch) is read from the next generation that has some.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import Marked
from liveinsight.model.buckets import (
    day_from_number,
    days_between,
    local_day_and_hour,
    quarter_start,
    quarters_of_day,
)
from liveinsight.model.clock import Clock
from liveinsight.model.errors import StoreUnavailable
from liveinsight.storage.generation_pointer import Active, Pointer
from liveinsight.storage.store import Read, ReadStore, VisitorKey, Watermark

REFRESH_MS = 5_000
"""How long the pointer is cached."""
FOR_EVER = 1 << 40
"""A bucket after all others."""
_UTC = ZoneInfo("UTC")


class GenerationalReader:
    """A `liveinsight.storage.store.ReadStore` over several generations. Thread safe.

    The pointer is loaded when it is first needed, and again when it is older than `REFRESH_MS`. That small read is not
    in `items_read`, so that the cost of an answer does not depend on its time.

    Args:
        stores: gives a generation's store.
        pointer: loads the pointer.
        zones: gives the time zones of the sites: cutover is at the midnight of each site.
        clock: current time.
    """

    def __init__(
        self,
        stores: Callable[[int], ReadStore],
        pointer: Callable[[], Pointer],
        zones: Callable[[], Mapping[str, ZoneInfo]],
        clock: Clock,
    ) -> None:
        self._stores = stores
        self._load = pointer
        self._zones = zones
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Pointer | None = None
        self._known_at = 0

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        active = self._active()
        rows: list[tuple[int, CounterItem]] = []
        items_read = 0
        for number, (start, end) in enumerate(self._spans(active, site)):
            first, last = max(first_quarter, start), min(last_quarter, end)
            if first <= last:
                read = self._totals(active[number:], site, first, last)
                rows.extend(read.rows)
                items_read += read.items_read
        return Read(rows, items_read)

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        active = self._active()
        number = max(number for number, generation in enumerate(active) if generation.cutover_day <= day)
        return self._dimension(active[number:], site, day, dimension)

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        return self._newest().read_minutes(site, first_minute, last_minute, dimension)

    def read_visitors(self, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        return self._newest().read_visitors(keys)

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        items_read = 0
        for active in reversed(self._active()):
            read = self._stores(active.generation).read_timeline(site, session_id, limit)
            items_read += read.items_read
            if read.rows:
                return Read(read.rows, items_read)
        return Read([], items_read)

    def read_watermarks(self) -> Read[Watermark]:
        return self._newest().read_watermarks()

    def _active(self) -> tuple[Active, ...]:
        with self._lock:
            now = self._clock()
            if self._known is None or not 0 <= now - self._known_at < REFRESH_MS:
                try:
                    self._known = self._load()
                except StoreUnavailable:
                    # A slightly old pointer is better than no answer.
                    if self._known is None:
                        raise
                self._known_at = now
            return self._known.active

    def _newest(self) -> ReadStore:
        return self._stores(self._active()[-1].generation)

    def _zone(self, site: str) -> ZoneInfo:
        return self._zones().get(site) or _UTC

    def _spans(self, active: Sequence[Active], site: str) -> list[tuple[int, int]]:
        """First and last bucket that is read from each generation."""
        zone = self._zone(site)
        starts = [
            quarters_of_day(day_from_number(each.cutover_day), zone)[0] if each.cutover_day else 0 for each in active
        ]
        return list(zip(starts, [*(start - 1 for start in starts[1:]), FOR_EVER], strict=True))

    def _totals(self, holders: Sequence[Active], site: str, first: int, last: int) -> Read[tuple[int, CounterItem]]:
        """Totals from the first of `holders`, and those of days that it has no data for from the next ones."""
        read = self._stores(holders[0].generation).read_totals(site, first, last)
        if len(holders) == 1:
            return read
        local_day = self._local_day(site)
        days = days_between(*(local_day(quarter) for quarter in (first, last)))
        unknown = set(days) - {local_day(quarter) for quarter, _ in read.rows}
        if not unknown:
            return read
        zone = self._zone(site)
        start, end = quarters_of_day(min(unknown), zone)[0], quarters_of_day(max(unknown), zone)[1]
        later = self._totals(holders[1:], site, max(first, start), min(last, end))
        rows = [row for row in later.rows if local_day(row[0]) in unknown]
        return Read([*read.rows, *rows], read.items_read + later.items_read)

    def _local_day(self, site: str) -> Callable[[int], date]:
        zone = self._zone(site)
        return lambda quarter: day_from_number(local_day_and_hour(quarter_start(quarter), zone)[0])

    def _dimension(
        self, holders: Sequence[Active], site: str, day: int, dimension: str
    ) -> Read[tuple[str, CounterItem]]:
        """Rows from the first of `holders`; from the next ones if it has no data for the day."""
        store = self._stores(holders[0].generation)
        read = store.read_dimension(site, day, dimension)
        if read.rows or len(holders) == 1:
            return read
        later = self._dimension(holders[1:], site, day, dimension)
        items_read = read.items_read + later.items_read
        if not later.rows:
            return Read([], items_read)
        known = store.read_totals(site, *quarters_of_day(day_from_number(day), self._zone(site)))
        return Read([] if known.rows else later.rows, items_read + known.items_read)
