"""How counters share stored items, and how often an item is written.

In: counter keys. Out: the key of the item that stores a counter, and the counter's name inside it.

    totals 10:00 10:15 10:30 10:45      one item: a quiet site has one write an hour
    page /a, entry page /a, exit page /a  one item: a viewed page is often an entry or exit page, too

An item has one mark, so all counters in it are flushed together.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from liveinsight.counting.keys import CACHED_KEYS, CounterKey, dimension_key
from liveinsight.counting.rollups import STORED_WITH, event_rows, unpack_rows

QUARTERS_PER_ITEM = 4


class Place(NamedTuple):
    """Where a counter is stored: the item, and the counter's name in it; "" is the item's own counter."""

    item: CounterKey
    name: str


def storage_item(key: CounterKey) -> Place:
    """Where the counter `key` is stored."""
    if key.kind == "totals":
        quarter = key.bucket % QUARTERS_PER_ITEM
        return Place(key._replace(bucket=key.bucket - quarter), str(quarter)) if quarter else Place(key, "")
    if stored_with := STORED_WITH.get(key.dimension):
        return Place(key._replace(dimension=stored_with), key.dimension)
    return Place(key, "")


def embedded_key(item: CounterKey, name: str) -> CounterKey:
    """The counter called `name` in `item`: the inverse of `storage_item`."""
    if not name:
        return item
    return item._replace(bucket=item.bucket + int(name)) if item.kind == "totals" else item._replace(dimension=name)


class CounterGroup:
    """Counters that always take the same contributions: the rows of a visit. Equal only to itself.

    A visit is in some ten rows. Contributions to a group are added up once at the flush, not once per row and event.
    """

    __slots__ = ("keys", "places")

    def __init__(self, keys: tuple[CounterKey, ...]) -> None:
        self.keys = keys
        self.places = tuple(storage_item(key) for key in keys)


Target = CounterKey | CounterGroup


def places_of(target: Target) -> tuple[Place, ...]:
    """Where the counters of `target` are stored."""
    return target.places if isinstance(target, CounterGroup) else (storage_item(target),)


@lru_cache(CACHED_KEYS)
def event_group(site: str, day: int, values: tuple[str, ...]) -> CounterGroup:
    """The rows of events whose `rollups.event_values` are `values`."""
    return CounterGroup(tuple(dimension_key(site, day, name, value) for name, value in event_rows(values)))


@lru_cache(CACHED_KEYS)
def visit_group(site: str, day: int, rows: bytes) -> CounterGroup:
    """The rows that the first event of a visit decides; `rows` as `rollups.visit_rows` packs them."""
    return CounterGroup(tuple(dimension_key(site, day, name, value) for name, value in unpack_rows(rows)))


class Cadence(IntEnum):
    """How often a counter is written."""

    FAST = 0
    """Totals and live minutes: a few items whatever the traffic."""
    MEDIUM = 1
    """Present and seen visitors of a minute: few items, but large ones."""
    SLOW = 2
    """Breakdowns: one item for each value."""


def cadence_of(key: CounterKey) -> Cadence:
    """How often a counter's item is written."""
    if key.kind == "dimension":
        return Cadence.SLOW
    return Cadence.MEDIUM if key.dimension else Cadence.FAST
