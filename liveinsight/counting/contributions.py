"""Contributions: what events add to counters, and their sums while they are pending.

In: contributions in rising order of their marks. Out: sums of all of them, or of those beyond a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from liveinsight.counting.layout import Target
from liveinsight.counting.rollups import Measures


class Contribution(msgspec.Struct, gc=False):
    """What the event at `mark` adds to a counter, or to each counter of a group."""

    target: Target
    mark: str
    measures: Measures
    hour: int = -1
    """Local hour of the page views in `measures`; -1 where they are not kept by hour."""
    visitor: int = 0
    """Visitor to add to the sketch; 0 for none."""


class Sums:
    """The sums of the first `count` contributions of a list."""

    __slots__ = ("count", "hours", "measures", "visitors")

    def __init__(self) -> None:
        self.count = 0
        self.measures: Measures = {}
        self.hours: dict[int, int] = {}
        self.visitors: set[int] = set()

    def extend(self, contributions: Sequence[Contribution]) -> None:
        """Add those of `contributions` that are not in yet."""
        measures, hours, visitors = self.measures, self.hours, self.visitors
        for contribution in contributions[self.count :] if self.count else contributions:
            amounts = contribution.measures
            for name, amount in amounts.items():
                measures[name] = measures.get(name, 0) + amount
            hour = contribution.hour
            if hour >= 0 and (views := amounts.get("pageviews")):
                hours[hour] = hours.get(hour, 0) + views
            if contribution.visitor:
                visitors.add(contribution.visitor)
        self.count = len(contributions)


class PendingContributions:
    """Contributions to the same counters. `parts` are in order of their marks: append, and nothing else.

    They are added up once for all counters of a group, and again only for those appended since.
    """

    __slots__ = ("_previewed", "_sums", "parts")

    def __init__(self, parts: Iterable[Contribution] = ()) -> None:
        self.parts = list(parts)
        self._sums: Sums | None = None
        self._previewed = 0

    @property
    def is_fresh(self) -> bool:
        """Whether `take_fresh` would return anything."""
        return len(self.parts) > self._previewed

    def take_fresh(self) -> PendingContributions:
        """The contributions that this has not returned before."""
        fresh = PendingContributions(self.parts[self._previewed :])
        self._previewed = len(self.parts)
        return fresh

    def beyond(self, mark: str) -> PendingContributions | None:
        """The contributions beyond `mark`; None when there are none."""
        if self.parts[-1].mark <= mark:
            return None
        if self.parts[0].mark > mark:
            return self
        return PendingContributions(part for part in self.parts if part.mark > mark)

    def sums(self) -> Sums:
        """The sums of all parts. Do not change them."""
        if self._sums is None:
            self._sums = Sums()
        self._sums.extend(self.parts)
        return self._sums
