"""Names of counters: what each counts, of which site and bucket.

In: site, bucket, dimension, value. Out: a `CounterKey`. How a key becomes a storage key is the backend's business.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["totals", "dimension", "minute"]

LIVE = "live"
"""Dimension of a minute's second counter: its present visitors by page, source and country (`presence.live_name`)."""
SEEN = "seen"
"""Dimension of a minute's third counter: the visitors with a live event in it (`presence.seen_name`)."""
CACHED_KEYS = 16_384


class CounterKey(NamedTuple):
    """One counter. `bucket` is a 15-minute bucket of totals, a local day of a dimension, or a minute."""

    kind: Kind
    site: str
    bucket: int
    dimension: str = ""
    value: str = ""


# Cached, as hot keys are asked for with every event and a named tuple takes five times as long to make as a tuple.
@lru_cache(CACHED_KEYS)
def totals_key(site: str, quarter: int) -> CounterKey:
    """Counter of everything in one 15-minute UTC bucket."""
    return CounterKey("totals", site, quarter)


@lru_cache(CACHED_KEYS)
def minute_key(site: str, minute: int, dimension: str = "") -> CounterKey:
    """Counter of one live minute: page views and the recency histogram, or `LIVE`, or `SEEN`."""
    return CounterKey("minute", site, minute, dimension)


@lru_cache(CACHED_KEYS)
def dimension_key(site: str, day: int, dimension: str, value: str) -> CounterKey:
    """Counter of one dimension value on one site-local day."""
    return CounterKey("dimension", site, day, dimension, value)
