"""Time buckets: half-open intervals [start, start + width) as plain integers.

Totals live in 15-minute UTC buckets, because every time-zone offset in use is a multiple of
15 minutes: hours and days of any zone are exact sums of them. Dimension items live in site-local days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def minute_of(epoch_ms: int) -> int:
    """Minutes since the epoch."""
    return epoch_ms // MINUTE_MS


def quarter_of(epoch_ms: int) -> int:
    """Quarter hours since the epoch: the number of a 15-minute UTC bucket."""
    return epoch_ms // QUARTER_MS


def quarter_start(quarter: int) -> int:
    """First millisecond of a 15-minute bucket."""
    return quarter * QUARTER_MS


def local_day_and_hour(epoch_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """The site-local day as the number yyyymmdd, and the local hour 0..23."""
    return _day_and_hour_of_quarter(epoch_ms // QUARTER_MS, zone)


@lru_cache(maxsize=65_536)
def _day_and_hour_of_quarter(quarter: int, zone: ZoneInfo) -> tuple[int, int]:
    # Offsets and their changes fall on quarter hours, so a quarter has one local day and hour.
    local = datetime.fromtimestamp(quarter * (QUARTER_MS // 1000), zone)
    return local.year * 10_000 + local.month * 100 + local.day, local.hour


def day_number(day: date) -> int:
    """A calendar day as the number yyyymmdd."""
    return day.year * 10_000 + day.month * 100 + day.day


def day_from_number(number: int) -> date:
    """Inverse of `day_number`."""
    return date(number // 10_000, number // 100 % 100, number % 100)


def days_between(first: date, last: date) -> Iterator[date]:
    """Calendar days from `first` to `last`, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def local_midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Epoch milliseconds of the first instant of a local day."""
    # A zone may skip midnight at a daylight-saving switch; through UTC and back it becomes the first real instant.
    naive_start = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(naive_start.astimezone(UTC).timestamp() * 1000)


def quarters_of_day(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """First and last 15-minute bucket of a local day."""
    start, end = (local_midnight_ms(midnight, zone) for midnight in (day, day + timedelta(days=1)))
    return quarter_of(start), quarter_of(end) - 1


def utc_day_of_quarter(quarter: int) -> int:
    """UTC day of a 15-minute bucket as the number yyyymmdd."""
    return local_day_and_hour(quarter * QUARTER_MS, _UTC_ZONE)[0]


_UTC_ZONE = ZoneInfo("UTC")
