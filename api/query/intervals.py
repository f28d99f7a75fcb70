"""Buckets of a time series: a range of 15-minute buckets, grouped into local hours or days.

In: a range in epoch ms, an interval, the site's zone. Out: half-open buckets that tile the range, in order.
Promises: boundaries are the zone's own, so a day has 23 to 25 hours and a repeated hour is two buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from liveinsight.model.buckets import DAY_MS, HOUR_MS, QUARTER_MS, local_day_and_hour, quarter_of
from liveinsight.model.errors import InvalidPayload


class Bucket(NamedTuple):
    """[start_ms, end_ms) in epoch ms."""

    start_ms: int
    end_ms: int


def _quarter_key(quarter: int, _zone: ZoneInfo) -> object:
    return quarter


def _hour_key(quarter: int, zone: ZoneInfo) -> object:
    # The offset tells the two hours of the same name apart when clocks are set back.
    local = datetime.fromtimestamp(quarter * (QUARTER_MS // 1000), zone)
    return local.toordinal(), local.hour, local.utcoffset()


def _day_key(quarter: int, zone: ZoneInfo) -> object:
    return local_day_and_hour(quarter * QUARTER_MS, zone)[0]


@dataclass(frozen=True)
class Interval:
    """A bucket width: the longest range for it, and the key of a bucket."""

    longest_days: int
    key: Callable[[int, ZoneInfo], object]


INTERVALS = {
    "15min": Interval(2, _quarter_key),
    "hour": Interval(31, _hour_key),
    "day": Interval(366, _day_key),
}
"""From fine to coarse."""


def choose_interval(wanted: str | None, length_ms: int) -> str:
    """The interval for a range: `wanted`, else hours up to two days, then days.

    Raises:
        InvalidPayload: the range is too long for it; the message names the finest possible one.
    """
    # One hour of grace: whole local days are longer than their number where clocks are set back.
    fitting = [name for name, interval in INTERVALS.items() if length_ms <= interval.longest_days * DAY_MS + HOUR_MS]
    if wanted is None:
        return "hour" if "15min" in fitting else "day"
    if wanted not in fitting:
        longest = INTERVALS[wanted].longest_days
        raise InvalidPayload(
            "interval_too_fine",
            f"interval={wanted} goes up to {longest} days; for this range use interval={fitting[0]}",
            field="interval",
        )
    return wanted


def buckets_of(start_ms: int, end_ms: int, interval: str, zone: ZoneInfo) -> list[Bucket]:
    """The range's buckets. The first and the last are cut where the range cuts them."""
    key = INTERVALS[interval].key
    buckets = []
    for _, group in groupby(range(quarter_of(start_ms), quarter_of(end_ms)), lambda quarter: key(quarter, zone)):
        quarters = list(group)
        buckets.append(Bucket(quarters[0] * QUARTER_MS, (quarters[-1] + 1) * QUARTER_MS))
    return buckets


def last_hours(now: int, count: int, zone: ZoneInfo) -> list[Bucket]:
    """The last `count` hours of the local clock, the current one included."""
    after = quarter_of(now) + 1
    while _hour_key(after, zone) == _hour_key(after - 1, zone):
        after += 1
    end_ms = after * QUARTER_MS
    # Where clocks change by half an hour, the range holds one bucket more: the first, which it cuts, is left out.
    return buckets_of(end_ms - count * HOUR_MS, end_ms, "hour", zone)[-count:]
