"""GET /v1/sites/{site}/timeseries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from liveinsight.model.buckets import DAY_MS, HOUR_MS, MINUTE_MS
from liveinsight.testing.builders import NOON, FakeClock
from tests.api.conftest import Feed


def test_every_bucket_has_a_row_and_a_bucket_is_complete_when_its_end_has_passed_the_watermark(
    feed: Feed, get: Callable[..., Any], clock: FakeClock
) -> None:
    """Two hours and one more: counted, empty, and still going on."""
    feed.view(NOON, session_id="a")
    feed.view(NOON + MINUTE_MS, "/b", session_id="a")
    feed.view(NOON + 2 * HOUR_MS, visitor=2)
    feed.fresh(NOON + 2 * HOUR_MS)
    clock.now = NOON + 2 * HOUR_MS + 1000

    answer = get(
        "/v1/sites/default/timeseries", from_="2026-09-21T12:00Z", to="2026-09-21T15:00Z", interval="hour"
    )  # fmt: skip

    empty = {"pageviews": 0, "visits": 0, "visitors": 0, "events": 0, "bounces": 0}
    assert answer["data"] == [
        {
            "start": "2026-09-21T12:00:00+00:00", "start_ms": NOON, "pageviews": 2, "visits": 1, "visitors": 1,
            "events": 2, "bounces": 0, "complete": True,
        },
        {"start": "2026-09-21T13:00:00+00:00", "start_ms": NOON + HOUR_MS, **empty, "complete": True},
        {
            "start": "2026-09-21T14:00:00+00:00", "start_ms": NOON + 2 * HOUR_MS, "pageviews": 1, "visits": 1,
            "visitors": 1, "events": 1, "bounces": 1, "complete": False,
        },
    ]  # fmt: skip
    assert answer["meta"]["interval"] == "hour"
    assert answer["meta"]["items_read"] == 3


@pytest.mark.parametrize("site", ["default", "kolkata", "kathmandu", "st-johns", "berlin", "lord-howe"])
@pytest.mark.parametrize(("period", "interval"), [("24h", "15min"), ("24h", "hour"), ("7d", "hour"), ("30d", "day")])
def test_the_buckets_of_a_range_sum_to_its_totals(
    feed: Feed, get: Callable[..., Any], site: str, period: str, interval: str
) -> None:
    """Additive measures are the same read fine or coarse, in every zone."""
    for hour in range(0, 40 * 24, 7):
        feed.view(NOON - hour * HOUR_MS, site=site, visitor=hour + 1)

    rows = get(f"/v1/sites/{site}/timeseries", period=period, interval=interval)["data"]
    totals = get(f"/v1/sites/{site}/totals", period=period)["data"]

    for measure in ("pageviews", "visits", "events", "bounces"):
        assert sum(row[measure] for row in rows) == totals[measure] > 0


@pytest.mark.parametrize(
    ("site", "first_hour", "first_day"),
    [
        ("kolkata", "2026-09-20T18:00:00+05:30", "2026-09-15T00:00:00+05:30"),
        ("kathmandu", "2026-09-20T18:00:00+05:45", "2026-09-15T00:00:00+05:45"),
        ("st-johns", "2026-09-20T10:00:00-02:30", "2026-09-15T00:00:00-02:30"),
    ],
)
def test_hours_and_days_start_on_the_clock_of_the_site(
    get: Callable[..., Any], site: str, first_hour: str, first_day: str
) -> None:
    """Half and quarter hours of offset move the borders."""
    hours = get(f"/v1/sites/{site}/timeseries", period="24h", interval="hour")["data"]
    days = get(f"/v1/sites/{site}/timeseries", period="7d", interval="day")["data"]

    assert (hours[0]["start"], len(hours)) == (first_hour, 24)
    assert (days[0]["start"], len(days)) == (first_day, 7)


@pytest.mark.parametrize(
    ("day", "hours", "around"),
    [
        ("2026-03-29", 23, ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]),
        ("2026-10-25", 25, ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]),
    ],
)
def test_a_day_of_a_clock_change_has_its_real_hours(
    feed: Feed, get: Callable[..., Any], day: str, hours: int, around: list[str]
) -> None:
    """Berlin: one hour is left out in spring, one comes twice in autumn; an event in each lands in each."""
    rows = get("/v1/sites/berlin/timeseries", from_=day, to=day, interval="hour")["data"]
    starts = [row["start"] for row in rows]
    at = starts.index(around[0])
    assert (len(rows), starts[at : at + 2]) == (hours, around)
    assert rows[-1]["start_ms"] - rows[0]["start_ms"] == (hours - 1) * HOUR_MS

    feed.view(rows[at]["start_ms"] + 1, site="berlin", visitor=1)
    feed.view(rows[at + 1]["start_ms"], site="berlin", visitor=2)
    feed.view(rows[at + 1]["start_ms"] + 1, site="berlin", visitor=3)

    again = get("/v1/sites/berlin/timeseries", from_=day, to=day, interval="hour")["data"]
    assert [row["pageviews"] for row in again if row["pageviews"]] == [1, 2]
    days = get("/v1/sites/berlin/timeseries", from_=day, to=day, interval="day")["data"]
    assert [(row["start"], row["pageviews"]) for row in days] == [(rows[0]["start"], 3)]


@pytest.mark.parametrize(
    ("asked", "interval", "nearest"),
    [
        ({"period": "7d"}, "15min", "hour"),
        ({"period": "12mo"}, "15min", "day"),
        ({"period": "12mo"}, "hour", "day"),
        ({"from_": "2026-08-01", "to": "2026-09-01"}, "hour", "day"),
    ],
)
def test_too_fine_an_interval_is_refused_and_the_nearest_that_works_is_named(
    refused: Callable[..., tuple[int, str, str]],
    get: Callable[..., Any],
    asked: dict[str, Any],
    interval: str,
    nearest: str,
) -> None:
    """The message's advice holds."""
    path = "/v1/sites/default/timeseries"
    status, reason, message = refused(path, **asked, interval=interval)
    assert (status, reason) == (400, "interval_too_fine")
    assert message.endswith(f"use interval={nearest}")
    assert 0 < len(get(path, **asked, interval=nearest)["data"]) <= 1000


@pytest.mark.parametrize(
    ("asked", "interval", "rows"),
    [
        ({"from_": "2026-10-24", "to": "2026-10-25"}, "15min", 196),
        ({"from_": "2026-10-01", "to": "2026-10-31"}, "hour", 745),
        ({"period": "12mo"}, "day", 365),
    ],
)
def test_the_longest_range_of_each_interval_is_answered_even_when_clocks_change_in_it(
    get: Callable[..., Any], asked: dict[str, Any], interval: str, rows: int
) -> None:
    """One hour more than the days' 24 is no reason to refuse."""
    assert len(get("/v1/sites/berlin/timeseries", **asked, interval=interval)["data"]) == rows


def test_without_an_interval_short_ranges_come_by_hour_and_long_ones_by_day(get: Callable[..., Any]) -> None:
    """The default fits the range."""
    chosen = [
        get("/v1/sites/default/timeseries", period=period)["meta"]["interval"] for period in ("24h", "today", "7d")
    ]
    assert chosen == ["hour", "hour", "day"]


def test_the_future_of_a_range_is_empty_and_not_complete(feed: Feed, get: Callable[..., Any]) -> None:
    """Today reaches to midnight."""
    feed.fresh(NOON)
    rows = get("/v1/sites/default/timeseries", period="today", interval="hour")["data"]
    assert [row["complete"] for row in rows] == [True] * 12 + [False] * 12
    assert rows[0]["start_ms"] == NOON - DAY_MS // 2
