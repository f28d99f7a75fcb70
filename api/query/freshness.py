"""Freshness of an answer: from the shards' watermarks to `as_of`, `lag_ms` and `complete`.

Promises: everything that arrived before `as_of` is in the answer, provided that the watermarks are read before the
counters. Without watermarks the three are null, null and false.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from liveinsight.storage.store import Watermark
from liveinsight.storage.watermarks import freshest_possible, freshest_previews, freshest_totals

COMPLETE_WITHIN_MS = 15_000
"""A lag up to this counts as complete: a quiet shard's watermark moves with its polls and flushes."""


@dataclass(frozen=True)
class Freshness:
    """Freshness of one answer.

    Args:
        as_of: epoch ms by the stream's clock.
        now: the API's time of the question.
        stored_as_of: `as_of` of the answer without previews.
    """

    as_of: int | None
    now: int
    stored_as_of: int | None = None

    def without_previews(self) -> Freshness:
        """The freshness of an answer whose previews are stored in part."""
        return Freshness(self.stored_as_of, self.now, self.stored_as_of)

    @property
    def lag_ms(self) -> int | None:
        """Milliseconds between `as_of` and now; never negative, also when clocks disagree."""
        return None if self.as_of is None else max(0, self.now - self.as_of)

    def complete_until(self, end_ms: int | None) -> bool:
        """Whether a range up to `end_ms` includes all events that have arrived, as far as watermarks tell."""
        if self.as_of is None or self.lag_ms is None:
            return False
        return self.lag_ms <= COMPLETE_WITHIN_MS or (end_ms is not None and self.as_of >= end_ms)


def freshness_of(watermarks: Iterable[Watermark], site: str, now: int, *, first: bool) -> Freshness:
    """The freshness of an answer that is read after `watermarks`.

    Args:
        watermarks: of all shards.
        site: that the answer is about.
        now: epoch ms.
        first: the answer needs only the counters that are written first: totals and live minutes.
    """
    watermarks = list(watermarks)
    as_of = freshest_totals(watermarks) if first else freshest_previews(watermarks, site)
    return Freshness(as_of, now, freshest_possible(watermarks))
