"""The cardinality guard: how many different values a site's day may have per dimension.

A client that invents a new page with every request would make storage grow without bound. Values beyond the cap
become ``(other)`` here, once, and the record carries that: a replay comes to the same result. Each process counts
for itself, so a day can have as many times the cap as processes have worked on it.
"""

from __future__ import annotations

from msgspec.structs import replace

from liveinsight.events import Event
from liveinsight.rollups import DIMENSIONS, OTHER, Scope

REMEMBERED_VALUES = 1_000_000
"""Hashes of values kept in memory over all sites, days and dimensions: about 100 MB at most."""

GUARDED = tuple((d.name, d.field) for d in DIMENSIONS if d.scope is not Scope.LEDGER and not d.of_session)
"""Entry and exit pages are pages, and so are guarded with them."""


class ValueGuard:
    """Remembers which values a site's day has had. Thread safe: at worst a few more values than the cap get in.

    Args:
        cap: different values per site, local day and dimension.
        remembered: hashes kept at most; days that were not seen for longest are forgotten first, and begin anew.
    """

    def __init__(self, cap: int, *, remembered: int = REMEMBERED_VALUES) -> None:
        self._cap = cap
        self._remembered = remembered
        self._days: dict[tuple[str, int], dict[str, set[int]]] = {}
        self._count = 0

    def admit(self, event: Event) -> Event:
        """The event, with values beyond the cap replaced."""
        day = self._day(event.site, event.day)
        changes = {}
        for name, field in GUARDED:
            value = getattr(event, field)
            if value and not self._known(day, name, value):
                changes[field] = OTHER
        return replace(event, **changes) if changes else event

    def _day(self, site: str, day: int) -> dict[str, set[int]]:
        key = (site, day)
        found = self._days.get(key)
        if found is None:
            found = self._days[key] = {}
            self._forget_oldest(key)
        return found

    def _known(self, day: dict[str, set[int]], dimension: str, value: str) -> bool:
        seen = day.get(dimension)
        if seen is None:
            seen = day[dimension] = set()
        hashed = hash(value)
        if hashed in seen:
            return True
        if len(seen) >= self._cap:
            return False
        seen.add(hashed)
        self._count += 1
        return True

    def _forget_oldest(self, but: tuple[str, int]) -> None:
        while self._count > self._remembered and len(self._days) > 1:
            oldest = next(key for key in self._days if key != but)
            self._count -= sum(len(values) for values in self._days.pop(oldest).values())
