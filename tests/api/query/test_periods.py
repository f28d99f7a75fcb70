"""From parameters to ranges, and from ranges to buckets."""

from __future__ import annotations

from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.query.intervals import INTERVALS, buckets_of, last_hours
from api.query.periods import Range, days_up_to_today, iso, local_date, previous_range, resolve_period
from liveinsight.model.buckets import HOUR_MS, MINUTE_MS, QUARTER_MS
from liveinsight.model.errors import InvalidPayload
from liveinsight.testing.builders import NOON

UTC, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "America/Havana",
        "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Pacific/Chatham", "Pacific/Kiritimati",
    )
]  # fmt: skip


Asked = tuple[str | None, ...]


def _period(*asked: str | None, zone: ZoneInfo = UTC, now: int = NOON) -> Range:
    period, first, last = (*asked, None, None)[:3]
    return resolve_period(period, first, last, default="24h", zone=zone, now=now)


def _shown(range_: Range) -> tuple[str, str]:
    return iso(range_.start_ms, range_.zone), iso(range_.end_ms, range_.zone)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((None,), ("2026-09-20T15:00:00+02:00", "2026-09-21T15:00:00+02:00")),
        (("24h",), ("2026-09-20T15:00:00+02:00", "2026-09-21T15:00:00+02:00")),
        (("today",), ("2026-09-21T00:00:00+02:00", "2026-09-22T00:00:00+02:00")),
        (("yesterday",), ("2026-09-20T00:00:00+02:00", "2026-09-21T00:00:00+02:00")),
        (("7d",), ("2026-09-15T00:00:00+02:00", "2026-09-22T00:00:00+02:00")),
        (("30d",), ("2026-08-23T00:00:00+02:00", "2026-09-22T00:00:00+02:00")),
        (("12mo",), ("2025-09-22T00:00:00+02:00", "2026-09-22T00:00:00+02:00")),
        ((None, "2026-03-29", "2026-03-29"), ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")),
        (("custom", "2026-10-24", "2026-10-25"), ("2026-10-24T00:00:00+02:00", "2026-10-26T00:00:00+01:00")),
        (
            (None, "2026-09-21T10:44:59Z", "2026-09-21T16:30:00+05:30"),
            ("2026-09-21T12:30:00+02:00", "2026-09-21T13:00:00+02:00"),
        ),
        (
            (None, "2026-09-21T10:45:00 02:00", "2026-09-21T11:00Z"),
            ("2026-09-21T10:45:00+02:00", "2026-09-21T13:00:00+02:00"),
        ),
    ],
)
def test_periods_are_stretches_of_the_sites_own_time(asked: Asked, expected: tuple[str, str]) -> None:
    """At 14:00 in Berlin on 21 September 2026."""
    assert _shown(_period(*asked, zone=BERLIN)) == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("7d", "2026-09-01", "2026-09-02"), "bad_range"),
        (("custom",), "bad_range"),
        ((None, "2026-09-01"), "bad_range"),
        ((None, None, "2026-09-01"), "bad_range"),
        ((None, "2026-09-02", "2026-09-01"), "bad_range"),
        ((None, "2026-02-30", "2026-03-01"), "bad_range"),
        ((None, "20260901", "20260902"), "bad_range"),
        ((None, "2026-W36-1", "2026-W36-2"), "bad_range"),
        ((None, "2026-09-01", "2026-09-01T10:00Z"), "bad_range"),
        ((None, "2026-09-01T10:00", "2026-09-01T11:00"), "bad_range"),
        ((None, "2026-09-01T10:00Z", "2026-09-01T10:14Z"), "bad_range"),
        ((None, "2026-09-01T10:00+99:00", "2026-09-01T10:14Z"), "bad_range"),
        ((None, "0001-01-01", "0001-01-02"), "bad_range"),
        ((None, "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"), "bad_range"),
        ((None, "9999-12-31", "9999-12-31"), "bad_range"),
        ((None, "2025-09-21", "2026-09-22"), "range_too_long"),
        ((None, "2025-09-21T00:00Z", "2026-09-23T00:00Z"), "range_too_long"),
    ],
)
def test_invalid_ranges_are_refused(asked: Asked, reason: str) -> None:
    """With a 400 and a reason, whatever the calendar makes of it."""
    with pytest.raises(InvalidPayload) as caught:
        _period(*asked)
    assert (caught.value.status, caught.value.reason) == (400, reason)


def test_the_longest_range_is_366_days() -> None:
    """One day less than what is refused above."""
    assert _period(None, "2025-09-21", "2026-09-21").length_ms == 366 * 24 * HOUR_MS
    leap_day = _period(None, "2028-02-29", "2028-02-29").start_ms
    assert _shown(_period("12mo", now=leap_day)) == ("2027-03-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("asked", "before"),
    [
        (("yesterday",), ("2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00")),
        (("today",), ("2026-03-29T00:00:00+01:00", "2026-03-29T13:15:00+02:00")),
        (("7d",), ("2026-03-17T00:00:00+01:00", "2026-03-23T11:15:00+01:00")),
        (("24h",), ("2026-03-28T12:00:00+01:00", "2026-03-29T12:15:00+02:00")),
        ((None, "2026-03-30T08:00Z", "2026-03-30T09:00Z"), ("2026-03-30T09:00:00+02:00", "2026-03-30T10:00:00+02:00")),
        ((None, "2026-04-02", "2026-04-03"), ("2026-03-31T00:00:00+02:00", "2026-04-02T00:00:00+02:00")),
    ],
)
def test_the_previous_range_has_the_length_and_the_elapsed_part_of_the_current_one(
    asked: Asked, before: tuple[str, str]
) -> None:
    """At 12:10 in Berlin, the day after the clocks were set forward."""
    now = 1_774_865_400_000
    assert iso(now, BERLIN) == "2026-03-30T12:10:00+02:00"
    assert _shown(previous_range(_period(*asked, zone=BERLIN, now=now), now)) == before


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(1_577_836_800_000, 1_900_000_000_000),
    st.integers(1, 200),
    st.sampled_from(list(INTERVALS)),
)
def test_buckets_tile_their_range_in_order(zone: ZoneInfo, start: int, quarters: int, interval: str) -> None:
    """No gap, no overlap, nothing outside, every border on a 15-minute bucket."""
    start = start // QUARTER_MS * QUARTER_MS
    end = start + quarters * QUARTER_MS
    buckets = buckets_of(start, end, interval, zone)
    assert (buckets[0].start_ms, buckets[-1].end_ms) == (start, end)
    assert all(one.end_ms == next_.start_ms for one, next_ in pairwise(buckets))
    assert all(bucket.start_ms < bucket.end_ms and bucket.start_ms % QUARTER_MS == 0 for bucket in buckets)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ZONES), st.integers(1_577_836_800_000, 1_900_000_000_000))
def test_today_and_the_current_hour_hold_now(zone: ZoneInfo, now: int) -> None:
    """In every zone, at every switch of its clocks."""
    today = days_up_to_today(1, zone, now)
    assert today.start_ms <= now < today.end_ms
    assert local_date(today.start_ms, zone) == local_date(today.end_ms - 1, zone) == local_date(now, zone)
    assert local_date(today.start_ms - 1, zone) < local_date(now, zone)
    hour = last_hours(now, 1, zone)[0]
    assert hour.start_ms <= now < hour.end_ms
    assert hour.end_ms - hour.start_ms in {30 * MINUTE_MS, HOUR_MS}


def test_the_first_of_the_last_hours_is_a_whole_one_where_clocks_change_by_half_an_hour() -> None:
    """Lord Howe, 5 April 2026: 02:00 becomes 01:30, so the hours from then on begin between those from before."""
    zone = ZoneInfo("Australia/Lord_Howe")
    now = 1_775_327_400_000
    assert iso(now, zone) == "2026-04-05T05:00:00+10:30"
    starts = [iso(hour.start_ms, zone) for hour in last_hours(now, 6, zone)]
    assert starts == [
        "2026-04-05T01:00:00+11:00",
        "2026-04-05T01:30:00+10:30",
        "2026-04-05T02:00:00+10:30",
        "2026-04-05T03:00:00+10:30",
        "2026-04-05T04:00:00+10:30",
        "2026-04-05T05:00:00+10:30",
    ]
