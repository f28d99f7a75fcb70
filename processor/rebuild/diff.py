"""Compares a rebuilt generation with the current one.

In: two stores to read. Out: every measure that differs, the largest difference first. Promises: a counter is compared
only if it is complete in the new generation and its bucket or day has ended. Differences are read again after both
generations have counted more, and reported only if they are unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from liveinsight.counting.counters import CounterItem
from liveinsight.model.buckets import (
    QUARTER_MS,
    day_from_number,
    days_between,
    local_day_and_hour,
    local_midnight_ms,
    quarter_start,
)
from liveinsight.sites.site import Sites
from liveinsight.storage.store import ReadStore
from processor.rebuild.cutover_day import known_from, longest_gap_ms
from processor.rebuild.replay import Replay
from processor.verify.command import read_stored
from processor.verify.comparison import CLOCKS_DIFFER_MS, Difference, Key, Window
from processor.verify.reference_count import TotalsKey

SiteDay = tuple[str, date]


@dataclass(frozen=True)
class DiffScope:
    """Which counters are compared.

    Args:
        window: knows which counters are whole in the new generation.
        settled_before: counters that end later may still change (epoch ms).
        days: the local days of sites to read, in order.
        left_out: days that are incomplete in the new generation.
    """

    window: Window
    settled_before: int
    days: list[SiteDay]
    left_out: int

    def compares(self, key: Key) -> bool:
        """Whether a counter is compared."""
        return self.window.knows(key) and self._end(key) <= self.settled_before

    def _end(self, key: Key) -> int:
        if isinstance(key, TotalsKey):
            return quarter_start(key.quarter) + QUARTER_MS
        return local_midnight_ms(day_from_number(key.day) + timedelta(days=1), self.window.zone(key.site))


@dataclass
class GenerationDiff:
    """The outcome."""

    differences: list[Difference] = field(default_factory=list)
    """In each, `stored` is of the current generation, and `recounted` of the new one."""
    compared: int = 0
    unsettled: int = 0
    """Differences that changed between two reads."""
    items_read: int = 0


def scope_of(
    replay: Replay, sites: Sites, counted_days: Iterable[tuple[str, int]], counted_until: int, now: int
) -> DiffScope:
    """What can be compared once both generations have counted all arrivals before `counted_until`.

    Live traffic is complete from the first record on, for every day, also for days without counters. Imported events
    may be of any day: they are complete only if the stream has dropped nothing.
    """
    first = None if replay.since is None else known_from(replay, sites, now)
    window = Window(sites.zones, None, first)
    found = {(site, day_from_number(day)) for site, day in counted_days}
    since = known_from(replay, sites, now) if first is None else first
    for site, zone in sites.zones.items():
        span = (day_from_number(local_day_and_hour(moment, zone)[0]) for moment in (since, max(since, counted_until)))
        found.update((site, day) for day in days_between(*span))
    known = {
        (site, day)
        for site, day in found
        if first is None or local_midnight_ms(day + timedelta(days=1), window.zone(site)) > first
    }
    settled_before = counted_until - longest_gap_ms(sites) - CLOCKS_DIFFER_MS
    return DiffScope(window, settled_before, sorted(known), len(found) - len(known))


def compare_generations(
    old: ReadStore,
    new: ReadStore,
    scope: DiffScope,
    wait: Callable[[], None],
    shown: Callable[[list[SiteDay]], Iterable[SiteDay]] = lambda days: days,
) -> GenerationDiff:
    """Compare two generations; compare the differences again after `wait` has let both count more."""
    found = GenerationDiff()
    at_first = _differences(old, new, scope, shown(scope.days), found)
    found.compared, compared = 0, found.compared
    if at_first:
        wait()
        again = _differences(old, new, scope, sorted({day for _, day in at_first}), found)
        lasting = [difference for difference, day in again if (difference, day) in set(at_first)]
        found.unsettled = len(again) - len(lasting)
        found.differences = sorted(lasting, key=lambda each: (-abs(each.recounted - each.stored), *_place(each)))
    found.compared = compared
    return found


def _differences(
    old: ReadStore, new: ReadStore, scope: DiffScope, days: Iterable[SiteDay], found: GenerationDiff
) -> list[tuple[Difference, SiteDay]]:
    differences: list[tuple[Difference, SiteDay]] = []
    for day in days:
        before, after = (read_stored(store, [day], scope.window) for store in (old, new))
        found.items_read += before.items + after.items
        for key in {*before.counters, *after.counters}:
            if scope.compares(key):
                found.compared += 1
                pair = (stored.counters.get(key, CounterItem()) for stored in (before, after))
                differences.extend((each, day) for each in _of_one(key, *pair))
    return differences


def _of_one(key: Key, old: CounterItem, new: CounterItem) -> Iterable[Difference]:
    before, after = _numbers(old), _numbers(new)
    for name in {*before, *after}:
        if before.get(name, 0) != after.get(name, 0):
            yield Difference(key, name, before.get(name, 0), after.get(name, 0))


def _numbers(item: CounterItem) -> dict[str, int]:
    hours = {f"pageviews at {hour:02d}:00": views for hour, views in item.hours.items()}
    return {**item.measures, **hours, "visitors": item.visitors}


def _place(difference: Difference) -> tuple[str, ...]:
    key = difference.key
    row = ("", "") if isinstance(key, TotalsKey) else (key.dimension, key.value)
    return key.site, difference.place, *row, difference.measure
