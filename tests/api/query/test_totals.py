"""GET /v1/sites/{site}/totals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liveinsight.model.buckets import DAY_MS, HOUR_MS, MINUTE_MS
from liveinsight.model.events import CLICK, CONVERSION, ENGAGEMENT, HEARTBEAT, PAGE_EXIT
from liveinsight.testing.builders import NOON, FakeClock
from tests.api.conftest import Feed

PATH = "/v1/sites/default/totals"
EMPTY: dict[str, Any] = {
    "pageviews": 0, "visits": 0, "visitors": 0, "bounces": 0, "bounce_rate": None, "views_per_visit": None,
    "visit_duration_ms": None, "events": 0, "clicks": 0, "conversions": 0, "engaged_ms": 0, "scroll_percent": None,
    "duplicates": 0, "revenue": {},
}  # fmt: skip


def test_totals_sum_every_measure_and_divide_where_there_is_something_to_divide_by(
    feed: Feed, get: Callable[..., Any], clock: FakeClock
) -> None:
    """Two visits, one of them a bounce, with a click, a sale and a repeated event."""
    first = feed.event(NOON, session_id="a", page="/")
    feed.add(
        first,
        feed.event(NOON + MINUTE_MS, session_id="a", page="/buy"),
        feed.event(NOON + 2 * MINUTE_MS, session_id="a", type=CLICK, page="/buy"),
        feed.event(NOON + 3 * MINUTE_MS, session_id="a", type=CONVERSION, revenue=1250, currency="EUR", page="/buy"),
        feed.event(NOON + 4 * MINUTE_MS, session_id="a", type=ENGAGEMENT, engaged_ms=9_000, page="/buy"),
        first,
        feed.event(NOON + 5 * MINUTE_MS, session_id="b", visitor=2, page="/"),
    )
    feed.fresh(NOON + 9 * MINUTE_MS)
    clock.now = NOON + 10 * MINUTE_MS

    assert get(PATH) == {
        "data": {
            "pageviews": 3,
            "visits": 2,
            "visitors": 2,
            "bounces": 1,
            "bounce_rate": 0.5,
            "views_per_visit": 1.5,
            "visit_duration_ms": 2 * MINUTE_MS,
            "events": 6,
            "clicks": 1,
            "conversions": 1,
            "engaged_ms": 9000,
            "scroll_percent": None,
            "duplicates": 1,
            "revenue": {"EUR": 1250},
        },
        "meta": {
            "site": "default",
            "time_zone": "UTC",
            "as_of": NOON + 9 * MINUTE_MS,
            "lag_ms": MINUTE_MS,
            "complete": False,
            "items_read": 2,
            "from": "2026-09-20T13:00:00+00:00",
            "to": "2026-09-21T13:00:00+00:00",
            "visitors_error": 0.022,
        },
    }


def test_an_empty_range_has_zeros_and_nulls(feed: Feed, get: Callable[..., Any]) -> None:
    """No visits: no ratio is made up."""
    assert get(PATH, period="yesterday")["data"] == EMPTY


def test_scroll_depth_is_the_mean_over_the_ends_of_page_views(feed: Feed, get: Callable[..., Any]) -> None:
    """40 %, 81 % and 90 % at three exits on two shards; depth on the way and an exit without one do not count."""
    shards = ("shardId-000000000000", "shardId-000000000001")
    for visitor, depth, shard in ((1, 40, shards[0]), (2, 81, shards[1]), (3, 90, shards[1]), (4, 0, shards[0])):
        feed.view(NOON, visitor=visitor, shard=shard)
        on_the_way = feed.event(NOON + 1000, visitor=visitor, type=HEARTBEAT, scroll_percent=10)
        feed.add(
            on_the_way, feed.event(NOON + 2000, visitor=visitor, type=PAGE_EXIT, scroll_percent=depth), shard=shard
        )

    assert get(PATH)["data"]["scroll_percent"] == 70


def test_two_shards_are_summed_and_a_visitor_on_both_is_counted_once(feed: Feed, get: Callable[..., Any]) -> None:
    """A visitor moves from one shard to its child at a split."""
    feed.view(NOON, shard="shardId-000000000000", visitor=1, session_id="a")
    feed.view(NOON + 1000, "/b", shard="shardId-000000000001", visitor=1, session_id="a")
    feed.view(NOON + 2000, "/b", shard="shardId-000000000002", visitor=2, session_id="b")

    answer = get(PATH)

    row = answer["data"]
    assert (row["pageviews"], row["visits"], row["visitors"], row["bounces"]) == (3, 2, 2, 1)
    assert answer["meta"]["items_read"] == 3


def test_the_first_instant_is_inside_and_the_end_is_outside(feed: Feed, get: Callable[..., Any]) -> None:
    """Custom instants: [from, to)."""
    feed.view(NOON - 1)
    feed.view(NOON, visitor=2)
    feed.view(NOON + HOUR_MS - 1, visitor=3)
    feed.view(NOON + HOUR_MS, visitor=4)

    answer = get(PATH, from_="2026-09-21T12:14:59Z", to="2026-09-21T15:14:00+02:00")

    assert answer["data"]["pageviews"] == 2
    assert (answer["meta"]["from"], answer["meta"]["to"]) == ("2026-09-21T12:00:00+00:00", "2026-09-21T13:00:00+00:00")


def test_yesterday_is_compared_with_the_day_before_it(feed: Feed, get: Callable[..., Any]) -> None:
    """Whole days are compared with whole days."""
    feed.view(NOON - DAY_MS)
    feed.view(NOON - 2 * DAY_MS, visitor=2)
    feed.view(NOON - 2 * DAY_MS, visitor=3)
    feed.view(NOON - 3 * DAY_MS, visitor=4)

    answer = get(PATH, period="yesterday", compare="previous")

    assert (answer["data"]["visitors"], answer["data"]["previous"]["visitors"]) == (1, 2)
    assert answer["meta"]["previous"] == {"from": "2026-09-19T00:00:00+00:00", "to": "2026-09-20T00:00:00+00:00"}
    assert answer["meta"]["items_read"] == 2


def test_a_day_that_goes_on_is_compared_with_as_much_of_the_day_before(
    feed: Feed, get: Callable[..., Any], clock: FakeClock
) -> None:
    """At 12:05, what came yesterday after 12:15 does not count against today."""
    clock.now = NOON + 5 * MINUTE_MS
    feed.view(NOON)
    feed.view(NOON - DAY_MS + 14 * MINUTE_MS, visitor=2)
    feed.view(NOON - DAY_MS + 15 * MINUTE_MS, visitor=3)

    answer = get(PATH, period="today", compare="previous")

    assert answer["data"]["previous"]["visitors"] == 1
    assert answer["meta"]["previous"] == {"from": "2026-09-20T00:00:00+00:00", "to": "2026-09-20T12:15:00+00:00"}
