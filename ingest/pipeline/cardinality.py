"""The cardinality guard: a cap on the values of a dimension on a site's day.

In: an event. Out: the event, with values beyond the cap replaced by ``(other)``. A client that invents a page with
every request would otherwise make storage grow without bound. The record carries the decision, so a replay agrees. Each
process counts for itself: a day has at most the cap times the processes that worked on it.
"""

from __future__ import annotations

from operator import attrgetter

from msgspec.structs import replace

from liveinsight.counting.rollups import DIMENSIONS, OTHER, Scope
from liveinsight.model.events import Event

REMEMBERED_VALUES = 1_000_000
"""Hashes of values in memory over all sites, days and dimensions: about 100 MB at most."""
REMEMBERED_COMBINATIONS = 65_536
"""Hashes of combinations of values: some 5 MB at most."""

GUARDED = tuple(dict.fromkeys(d.field for d in DIMENSIONS if d.scope is not Scope.LEDGER and not d.of_session))
"""Fields of the event. Capping pages also caps entry and exit pages."""
_values = attrgetter(*GUARDED)


class ValueGuard:
    """Remembers which values a site's day has had. Thread safe: at worst a few more values than the cap get in.

    Args:
        remembered: hashes kept at most; the least recently seen days are forgotten first, and start from zero.
    """

    def __init__(self, *, remembered: int = REMEMBERED_VALUES) -> None:
        self._remembered = remembered
        self._days: dict[tuple[str, int], list[set[int]]] = {}
        self._admitted: set[int] = set()
        """Hashes of (site, day, values) that were admitted unchanged: the same combination comes often."""
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
