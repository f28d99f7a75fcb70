"""Legacy statistics: exact shapes, by the site's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from liveinsight.model.buckets import DAY_MS, HOUR_MS, MINUTE_MS
from liveinsight.model.events import HEARTBEAT
from liveinsight.testing.builders import NOON, FakeClock
from tests.api.conftest import Feed

PATHS = (
    "/api/sessions/active",
    "/api/sessions/some/events",
    "/api/statistics/hourly",
    "/api/statistics/pages",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_trailing_slash_and_unknown_parameters_change_nothing(feed: Feed, client: FlaskClient, path: str) -> None:
    """Existing callers add both."""
    feed.view(NOON, session_id="some")
    plain = client.get(path)
    slashed = client.get(path + "/?callback=x&_=1")
    assert (plain.status_code, plain.get_json()) == (slashed.status_code, slashed.get_json())
    assert (plain.status_code, len(plain.get_json()) > 0) == (200, True)


def test_hourly_counts_all_events_and_includes_empty_hours_oldest_first(
    feed: Feed, get: Callable[..., Any], client: FlaskClient
) -> None:
    """Three hours: one empty; heartbeats count, too."""
    feed.view(NOON)
    feed.add(feed.event(NOON + 1, type=HEARTBEAT))
    feed.view(NOON - 2 * HOUR_MS, visitor=2)
    feed.view(NOON - 3 * HOUR_MS, visitor=3)

    assert get("/api/statistics/hourly", hours=3) == [
        {"hour": "2026-09-21 10:00", "count": 1},
        {"hour": "2026-09-21 11:00", "count": 0},
        {"hour": "2026-09-21 12:00", "count": 2},
    ]
    assert len(get("/api/statistics/hourly")) == 24
    response = client.get("/api/statistics/hourly")
    assert [name for name, _ in response.headers if name.startswith("X-LiveInsight-")] == [
        "X-LiveInsight-Complete",
        "X-LiveInsight-Items-Read",
    ]
    assert response.headers["X-LiveInsight-Complete"] == "false"


@pytest.mark.parametrize(
    "border",
    [
        ("kolkata", NOON + 29 * MINUTE_MS, "2026-09-21 17:00"),
        ("kolkata", NOON + 30 * MINUTE_MS, "2026-09-21 18:00"),
        ("kathmandu", NOON + 14 * MINUTE_MS, "2026-09-21 17:00"),
        ("kathmandu", NOON + 15 * MINUTE_MS, "2026-09-21 18:00"),
        ("st-johns", NOON + 29 * MINUTE_MS, "2026-09-21 09:00"),
        ("st-johns", NOON + 30 * MINUTE_MS, "2026-09-21 10:00"),
    ],
)
def test_an_hour_is_an_hour_of_the_sites_clock(
    feed: Feed, get: Callable[..., Any], clock: FakeClock, border: tuple[str, int, str]
) -> None:
    """Borders of hours lie at the half or quarter hour of UTC."""
    site, at, label = border
    feed.view(at, site=site)
    clock.now = at
    rows = get("/api/statistics/hourly", site=site, hours=2)
    assert (rows[-1], rows[0]["count"]) == ({"hour": label, "count": 1}, 0)


def test_the_hour_that_comes_twice_is_two_rows_and_the_one_that_is_left_out_is_none(
    feed: Feed, get: Callable[..., Any], clock: FakeClock
) -> None:
    """Berlin, 25 October and 29 March 2026; the switches are at 01:00 UTC."""
    autumn, spring = 1_792_890_000_000, 1_774_746_000_000
    feed.view(autumn - HOUR_MS, site="berlin", visitor=1)
    feed.view(autumn, site="berlin", visitor=2)
    feed.view(autumn, site="berlin", visitor=3)
    clock.now = autumn + HOUR_MS
    assert get("/api/statistics/hourly", site="berlin", hours=4) == [
        {"hour": "2026-10-25 01:00", "count": 0},
        {"hour": "2026-10-25 02:00", "count": 1},
        {"hour": "2026-10-25 02:00", "count": 2},
        {"hour": "2026-10-25 03:00", "count": 0},
    ]
    feed.view(spring - 1, site="berlin", visitor=4)
    feed.view(spring, site="berlin", visitor=5)
    clock.now = spring
    assert get("/api/statistics/hourly", site="berlin", hours=2) == [
        {"hour": "2026-03-29 01:00", "count": 1},
        {"hour": "2026-03-29 03:00", "count": 1},
    ]


@pytest.mark.parametrize("site", ["default", "kathmandu", "berlin", "lord-howe", "havana"])
@pytest.mark.parametrize("hours", [1, 24, 168])
def test_there_are_as_many_rows_as_hours_asked_for_all_year_round(
    get: Callable[..., Any], clock: FakeClock, site: str, hours: int
) -> None:
    """Every week of a year, whatever the clocks do."""
    for week in range(52):
        clock.now = NOON + week * 7 * DAY_MS + week * 37 * MINUTE_MS
        assert len(get("/api/statistics/hourly", site=site, hours=hours)) == hours


def test_pages_are_summed_over_local_days_the_most_viewed_first(feed: Feed, get: Callable[..., Any]) -> None:
    """Today and 29 days before by default."""
    feed.view(NOON, "/b")
    feed.view(NOON - 29 * DAY_MS, "/a", visitor=2)
    feed.view(NOON - 28 * DAY_MS, "/a", visitor=2)
    feed.view(NOON - 30 * DAY_MS, "/old", visitor=3)
    feed.add(feed.event(NOON + 1, type=HEARTBEAT, page="/never-viewed"))

    assert get("/api/statistics/pages") == [{"page": "/a", "views": 2}, {"page": "/b", "views": 1}]
    assert get("/api/statistics/pages", days=1) == [{"page": "/b", "views": 1}]
    assert get("/api/statistics/pages", limit=1) == [{"page": "/a", "views": 2}]
    assert {"page": "/old", "views": 1} in get("/api/statistics/pages", days=31)


def test_another_site_is_read_by_name_and_an_unknown_one_is_refused(
    feed: Feed, get: Callable[..., Any], refused: Callable[..., tuple[int, str, str]]
) -> None:
    """The default site is the first one that is configured."""
    assert get("/api/statistics/pages", site="decoy") == [{"page": "/", "views": 1}, {"page": "/decoy", "views": 1}]
    assert get("/api/statistics/pages") == []
    assert refused("/api/statistics/pages", site="nowhere")[:2] == (404, "unknown_site")
