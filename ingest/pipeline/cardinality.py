"""The cardinality guard: how many different values a site's day may have per dimension.

A client that invents a new page with every request would make storage grow without bound. Values beyond the cap
become ``(other)`` here, once, and the record carries that: a replay comes to the same result. Each process counts
for itself, so a day can have as many times the cap as processes have worked on it.
"""

from __future__ import annotations

from operator import attrgetter

from msgspec.structs import replace

from liveinsight.counting.rollups import DIMENSIONS, OTHER, Scope
from liveinsight.model.events import Event

REMEMBERED_VALUES = 1_000_000
"""Hashes of values kept in memory over all sites, days and dimensions: about 100 MB at most."""
REMEMBERED_COMBINATIONS = 65_536
"""Hashes of events' values together: some 5 MB at most."""

GUARDED = tuple(dict.fromkeys(d.field for d in DIMENSIONS if d.scope is not Scope.LEDGER and not d.of_session))
"""Fields of the event. Entry and exit pages are pages, and so are guarded with them."""
_values = attrgetter(*GUARDED)


class ValueGuard:
    """Remembers which values a site's day has had. Thread safe: at worst a few more values than the cap get in.

    Args:
        remembered: hashes kept at most; days that were not seen for longest are forgotten first, and begin anew.
    """

    def __init__(self, *, remembered: int = REMEMBERED_VALUES) -> None:
        self._remembered = remembered
        self._days: dict[tuple[str, int], list[set[int]]] = {}
        self._admitted: set[int] = set()
        """Hashes of site, day and all values of events that came through as they were: the same come often."""
        self._count = 0

    @property
    def remembered_values(self) -> int:
        """How many there are now."""
        return self._count

    def admit(self, event: Event, cap: int) -> Event:
        """The event, with values beyond the cap (of its site, per local day and dimension) replaced."""
        values = _values(event)
        combination = hash((event.site, event.day, values))
        if combination in self._admitted:
            return event
        day = self._day(event.site, event.day)
        changes = {
            GUARDED[number]: OTHER
            for number, (value, seen) in enumerate(zip(values, day, strict=True))
            if value and hash(value) not in seen and not self._let_in(seen, value, cap)
        }
        if changes:
            return replace(event, **changes)
        if len(self._admitted) >= REMEMBERED_COMBINATIONS:
            self._admitted.clear()
        self._admitted.add(combination)
        return event

    def _day(self, site: str, day: int) -> list[set[int]]:
        key = (site, day)
        found = self._days.get(key)
        if found is None:
            found = self._days[key] = [set() for _ in GUARDED]
            self._forget_oldest(key)
        return found

    def _let_in(self, seen: set[int], value: str, cap: int) -> bool:
        if len(seen) >= cap:
            return False
        seen.add(hash(value))
        self._count += 1
        return True

    def _forget_oldest(self, but: tuple[str, int]) -> None:
        while self._count > self._remembered and len(self._days) > 1:
            oldest = next(key for key in self._days if key != but)
            self._count -= sum(map(len, self._days.pop(oldest)))
            self._admitted.clear()
