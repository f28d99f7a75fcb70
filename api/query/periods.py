"""Ranges of time. Pure.

In: the parameters of a request, the site's zone and now. Out: a range. Named periods and ISO dates are whole local days
of the site; `24h` is the last 24 hours of the local clock, the current one included; ISO date-times are aligned down to
15 minutes, the width of the stored totals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from api.query.intervals import last_hours
from liveinsight.model.buckets import (
    DAY_MS,
    HOUR_MS,
    QUARTER_MS,
    day_from_number,
    local_day_and_hour,
    local_midnight_ms,
)
from liveinsight.model.errors import InvalidPayload

MAX_DAYS = 366

_DAYS_BACK = {"today": (0, 0), "yesterday": (1, 1), "7d": (6, 0), "30d": (29, 0)}
PERIODS = ("24h", *_DAYS_BACK, "12mo", "custom")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# A plus sign that was not escaped arrives as a space.
_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:(Z)|([+ -])([0-9]{2}:[0-9]{2}))")
_FORMS = "use dates (2026-11-22) or date-times with an offset (2026-11-22T13:00:00Z), both of the same kind"
_YEARS = range(2000, 3000)


@dataclass(frozen=True)
class Range:
    """[start_ms, end_ms) in epoch ms, on 15-minute boundaries; `days` are its first and last if it is whole days."""

    start_ms: int
    end_ms: int
    zone: ZoneInfo
    days: tuple[date, date] | None = None

    @property
    def length_ms(self) -> int:
        """Its length."""
        return self.end_ms - self.start_ms


def whole_days(first: date, last: date, zone: ZoneInfo) -> Range:
    """Local days from first to last, both included."""
    start_ms = local_midnight_ms(first, zone)
    return Range(start_ms, local_midnight_ms(last + timedelta(days=1), zone), zone, (first, last))


def days_up_to_today(count: int, zone: ZoneInfo, now: int) -> Range:
    """The last `count` local days, today included."""
    today = local_date(now, zone)
    return whole_days(today - timedelta(days=count - 1), today, zone)


def local_date(epoch_ms: int, zone: ZoneInfo) -> date:
    """The local day of a time."""
    return day_from_number(local_day_and_hour(epoch_ms, zone)[0])


def resolve_period(
    period: str | None, first: str | None, last: str | None, *, default: str, zone: ZoneInfo, now: int
) -> Range:
    """The range that `period`, `from` and `to` describe.

    Raises:
        InvalidPayload: they contradict each other, are malformed, or reach over more than 366 days.
    """
    if first is not None or last is not None:
        if period not in {None, "custom"}:
            raise InvalidPayload("bad_range", f"period={period} takes no from and to; leave period out", field="period")
        if first is None or last is None:
            raise InvalidPayload("bad_range", f"give both from and to; {_FORMS}", field="to" if first else "from")
        return _custom(first, last, zone)
    name = period or default
    if name == "custom":
        raise InvalidPayload("bad_range", f"period=custom needs from and to; {_FORMS}", field="from")
    if name == "24h":
        hours = last_hours(now, 24, zone)
        return Range(hours[0].start_ms, hours[-1].end_ms, zone)
    today = local_date(now, zone)
    if name == "12mo":
        return whole_days(_year_before(today) + timedelta(days=1), today, zone)
    furthest, nearest = _DAYS_BACK[name]
    return whole_days(today - timedelta(days=furthest), today - timedelta(days=nearest), zone)


def previous_range(current: Range, now: int) -> Range:
    """The previous range of equal length: as many local days for whole days, else as many milliseconds.

    A current range is compared with the elapsed part of the previous one, so that half a day is never compared with a
    whole one.
    """
    if current.days:
        first, last = current.days
        before = whole_days(first - ((last - first) + timedelta(days=1)), first - timedelta(days=1), current.zone)
    else:
        before = Range(current.start_ms - current.length_ms, current.start_ms, current.zone)
    if not current.start_ms <= now < current.end_ms:
        return before
    gone_by = (now - current.start_ms) // QUARTER_MS * QUARTER_MS + QUARTER_MS
    return Range(before.start_ms, min(before.end_ms, before.start_ms + gone_by), before.zone)


def iso(epoch_ms: int, zone: ZoneInfo) -> str:
    """A time in the site's zone, in ISO 8601 with offset."""
    return datetime.fromtimestamp(epoch_ms // 1000, zone).isoformat()


def _custom(first: str, last: str, zone: ZoneInfo) -> Range:
    if _DATE.fullmatch(first) and _DATE.fullmatch(last):
        first_day, last_day = _date(first, "from"), _date(last, "to")
        if last_day < first_day:
            raise InvalidPayload("bad_range", "to is before from", field="to")
        if (last_day - first_day).days >= MAX_DAYS:
            raise _too_long()
        return whole_days(first_day, last_day, zone)
    start_ms, end_ms = _instant(first, "from"), _instant(last, "to")
    if end_ms <= start_ms:
        raise InvalidPayload("bad_range", "to must be at least 15 minutes after from", field="to")
    if end_ms - start_ms > MAX_DAYS * DAY_MS + HOUR_MS:
        raise _too_long()
    return Range(start_ms, end_ms, zone)


def _date(text: str, field: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidPayload("bad_range", f"{field}: {text!r} is not a calendar day", field=field) from None
    _check_year(day.year, field)
    return day


def _instant(text: str, field: str) -> int:
    match = _INSTANT.fullmatch(text)
    if not match:
        raise InvalidPayload("bad_range", f"{field}: {_FORMS}", field=field)
    local, zulu, sign, offset = match.groups()
    try:
        instant = datetime.fromisoformat(local + ("+00:00" if zulu else sign.replace(" ", "+") + offset))
    except ValueError:
        raise InvalidPayload("bad_range", f"{field}: {text!r} is not a valid date-time", field=field) from None
    _check_year(instant.year, field)
    return int(instant.timestamp()) * 1000 // QUARTER_MS * QUARTER_MS


def _check_year(year: int, field: str) -> None:
    if year not in _YEARS:
        raise InvalidPayload("bad_range", f"{field}: use years from {_YEARS[0]} to {_YEARS[-1]}", field=field)


def _too_long() -> InvalidPayload:
    return InvalidPayload("range_too_long", f"a range has {MAX_DAYS} days at most", field="to")


def _year_before(day: date) -> date:
    if (day.month, day.day) == (2, 29):
        return date(day.year - 1, 2, 28)
    return day.replace(year=day.year - 1)
