"""Compares stored counters with recounted ones.

In: two sets of counters. Out: every measure that differs. Visitors are compared within the error of their sketches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.rollups import lg_k_of, relative_error
from liveinsight.model.buckets import (
    MINUTE_MS,
    QUARTER_MS,
    day_from_number,
    day_number,
    local_day_and_hour,
    local_midnight_ms,
    quarter_start,
)
from processor.verify.reference_count import KNOWN_MEASURES, ExpectedCounter, ReferenceCount, RowKey, TotalsKey
from processor.verify.stream_reader import Coverage

CLOCKS_DIFFER_MS = 5 * MINUTE_MS
"""Allowance for differing clocks of browsers, ingest and the stream, and for the duration of a read."""

Key = TotalsKey | RowKey


class Difference(NamedTuple):
    """A measure of a counter whose stored and recounted values differ."""

    key: Key
    measure: str
    stored: int
    recounted: int

    @property
    def place(self) -> str:
        """The bucket's start, or the day."""
        if isinstance(self.key, TotalsKey):
            start = datetime.fromtimestamp(quarter_start(self.key.quarter) / 1000, UTC)
            return start.strftime("%Y-%m-%d %H:%MZ")
        return day_from_number(self.key.day).isoformat()


@dataclass(frozen=True)
class Window:
    """Which counters are asked for, and which of them the records cover completely.

    Args:
        zones: time zones by site.
        days: first and last local day asked for; None: all.
        complete_from: counters that begin earlier are not covered (epoch ms); None: all are.
    """

    zones: Mapping[str, ZoneInfo]
    days: tuple[date, date] | None
    complete_from: int | None

    def asks_for(self, key: Key) -> bool:
        """Whether a counter is in the days asked for."""
        if self.days is None:
            return True
        first, last = (day_number(day) for day in self.days)
        return first <= self._day(key) <= last

    def knows(self, key: Key) -> bool:
        """Whether the records cover a counter completely."""
        return self.complete_from is None or self._start(key) >= self.complete_from

    @property
    def begins_unknown(self) -> bool:
        """Whether a day is asked for whose beginning is not covered."""
        if self.days is None or self.complete_from is None:
            return False
        first, complete_from = self.days[0], self.complete_from
        return any(local_midnight_ms(first, zone) < complete_from for zone in self.zones.values())

    def _day(self, key: Key) -> int:
        if isinstance(key, RowKey):
            return key.day
        return local_day_and_hour(quarter_start(key.quarter), self.zone(key.site))[0]

    def _start(self, key: Key) -> int:
        if isinstance(key, TotalsKey):
            return quarter_start(key.quarter)
        return local_midnight_ms(day_from_number(key.day), self.zone(key.site))

    def zone(self, site: str) -> ZoneInfo:
        """The time zone of a site; UTC for a site that was deleted."""
        return self.zones.get(site) or ZoneInfo("UTC")


def complete_from(coverage: Coverage, longest_gap_ms: int) -> int | None:
    """The time from which counters are covered completely: visits must begin after the first record.

    The first event that we see of a visit is its first event if no event can have come before it within the gap.
    """
    if coverage.since is None:
        return None
    first = coverage.since + longest_gap_ms + CLOCKS_DIFFER_MS
    return -(-first // QUARTER_MS) * QUARTER_MS


@dataclass
class Stored:
    """The stored counters, added up over the shards."""

    counters: dict[Key, CounterItem] = field(default_factory=dict)
    items: int = 0


@dataclass
class Comparison:
    """The outcome."""

    differences: list[Difference] = field(default_factory=list)
    compared: int = 0
    unknown: int = 0
    """Counters left out because the records do not cover them completely."""
    unsettled: int = 0
    """Counters left out because they may still change."""
    not_recounted: set[str] = field(default_factory=set)
    """Measures that the reference count does not know."""


def compare(stored: Stored, recounted: ReferenceCount, window: Window, unsettled: set[Key]) -> Comparison:
    """All differences, in order. A row in `unsettled` stands for its whole day, totals for themselves."""
    result = Comparison()
    expected: dict[Key, ExpectedCounter] = {
        key: tally for rows in (recounted.totals, recounted.rows) for key, tally in rows.items()
    }
    for key in sorted({*stored.counters, *expected}, key=_order):
        if not window.asks_for(key):
            continue
        if not window.knows(key):
            result.unknown += 1
        elif settles_with(key) in unsettled:
            result.unsettled += 1
        else:
            result.compared += 1
            item, tally = stored.counters.get(key, CounterItem()), expected.get(key, ExpectedCounter())
            result.differences.extend(_differences(key, item, tally))
            result.not_recounted.update(name for name, amount in item.measures.items() if amount and not _known(name))
    return result


def settles_with(key: Key) -> Key:
    """The key under which a counter is in the set of unsettled ones."""
    return key if isinstance(key, TotalsKey) else RowKey(key.site, key.day, "", "")


def _order(key: Key) -> tuple[str, int, int, str, str]:
    if isinstance(key, TotalsKey):
        return key.site, 0, key.quarter, "", ""
    return key.site, 1, key.day, key.dimension, key.value


def _known(measure: str) -> bool:
    return measure in KNOWN_MEASURES or measure.startswith("revenue:")


def _differences(key: Key, item: CounterItem, tally: ExpectedCounter) -> Iterable[Difference]:
    for name in sorted({*item.measures, *tally.measures}):
        stored, recounted = item.measures.get(name, 0), tally.measures.get(name, 0)
        if stored != recounted and _known(name):
            yield Difference(key, name, stored, recounted)
    for hour in sorted({*item.hours, *tally.hours}):
        stored, recounted = item.hours.get(hour, 0), tally.hours.get(hour, 0)
        if stored != recounted:
            yield Difference(key, f"pageviews at {hour:02d}:00", stored, recounted)
    least, most = len(tally.visitors), len(tally.visitors | tally.maybe)
    lg_k = lg_k_of("totals", "") if isinstance(key, TotalsKey) else lg_k_of("dimension", key.dimension)
    if not least - tolerance(least, lg_k) <= item.visitors <= most + tolerance(most, lg_k):
        yield Difference(key, "visitors", item.visitors, least)


def tolerance(visitors: int, lg_k: int) -> int:
    """The allowed error of a sketch of 2^`lg_k` rows: five standard errors, and at least 1 from 2 visitors on."""
    return 0 if visitors < 2 else max(1, int(5 * relative_error(lg_k) * visitors))


def days_to_read(window: Window, recounted: ReferenceCount, now: int) -> list[tuple[str, date]]:
    """Sites and local days whose stored counters to read, in a known range also days without events."""
    found: set[tuple[str, int]] = {(key.site, key.day) for key in recounted.rows}
    for key in recounted.totals:
        found.add((key.site, local_day_and_hour(quarter_start(key.quarter), window.zone(key.site))[0]))
    days = {(site, day_from_number(day)) for site, day in found}
    if window.days:
        first, last = window.days
        days = {(site, day) for site, day in days if first <= day <= last}
        for site, zone in window.zones.items():
            days.update((site, day) for day in _days(first, min(last, _local_day(now, zone))))
    elif window.complete_from is not None:
        for site, zone in window.zones.items():
            days.update((site, day) for day in _days(_local_day(window.complete_from, zone), _local_day(now, zone)))
    return sorted(days)


def _local_day(at: int, zone: ZoneInfo) -> date:
    return day_from_number(local_day_and_hour(at, zone)[0])


def _days(first: date, last: date) -> list[date]:
    return [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]
