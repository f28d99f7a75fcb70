"""GET /v1/sites/{site}/breakdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from liveinsight.counting.rollups import BY_NAME, DIMENSIONS, Dimension, Scope
from liveinsight.model.buckets import DAY_MS, HOUR_MS, MINUTE_MS
from liveinsight.model.events import CLICK, CONVERSION, LEDGER, PAGE_EXIT
from liveinsight.testing.builders import NOON, FakeClock
from tests.api.conftest import Feed

PATH = "/v1/sites/default/breakdown"


def _values(answer: dict[str, Any], measure: str) -> list[tuple[str, Any]]:
    return [(row["value"], row[measure]) for row in answer["data"]]


def test_visits_by_source_with_all_measures(feed: Feed, get: Callable[..., Any], clock: FakeClock) -> None:
    """One visit of two pages and a sale, one that bounced."""
    feed.view(NOON, session_id="a", source="Google", country="DE")
    feed.add(
        feed.event(NOON + MINUTE_MS, session_id="a", type=CONVERSION, conversion_type="sale", revenue=5, currency="JPY")
    )
    feed.view(NOON + 2 * MINUTE_MS, "/b", session_id="a")
    feed.view(NOON, visitor=2, session_id="b", source="Bing")
    feed.fresh(NOON)

    assert get(PATH, dimension="source", hours="true") == {
        "data": [
            {
                "value": "Bing", "pageviews": 1, "visits": 1, "visitors": 1, "bounces": 1, "bounce_rate": 1.0,
                "views_per_visit": 1.0, "visit_duration_ms": 0, "events": 1, "clicks": 0, "conversions": 0,
                "engaged_ms": 0, "scroll_percent": None, "revenue": {}, "hours": [0] * 12 + [1] + [0] * 11,
            },
            {
                "value": "Google", "pageviews": 2, "visits": 1, "visitors": 1, "bounces": 0, "bounce_rate": 0.0,
                "views_per_visit": 2.0, "visit_duration_ms": 2 * MINUTE_MS, "events": 3, "clicks": 0,
                "conversions": 1, "engaged_ms": 0, "scroll_percent": None, "revenue": {"JPY": 5},
                "hours": [0] * 12 + [2] + [0] * 11,
            },
        ],
        "meta": {
            "site": "default", "time_zone": "UTC", "as_of": NOON, "lag_ms": 0, "complete": True, "items_read": 3,
            "from": "2026-09-21T00:00:00+00:00", "to": "2026-09-22T00:00:00+00:00", "visitors_error": 0.031,
            "dimension": "source", "sort": "visits", "limit": 10, "offset": 0, "total_values": 2,
        },
    }  # fmt: skip


def test_pages_of_several_days_and_shards_are_summed_and_their_visitors_united(
    feed: Feed, get: Callable[..., Any]
) -> None:
    """One visitor on two days and two shards is one."""
    feed.view(NOON - DAY_MS, "/a", visitor=1, shard="shardId-000000000000")
    feed.view(NOON, "/a", visitor=1, shard="shardId-000000000001")
    feed.view(NOON, "/a", visitor=2, shard="shardId-000000000002")
    feed.view(NOON, "/b", visitor=2, shard="shardId-000000000002")
    feed.view(NOON - 7 * DAY_MS, "/too-old", visitor=3)

    answer = get(PATH, dimension="page", period="7d")

    assert [(row["value"], row["pageviews"], row["visitors"]) for row in answer["data"]] == [("/a", 3, 2), ("/b", 1, 1)]
    assert answer["data"][0]["visits"] is None
    assert "hours" not in answer["data"][0]
    assert (answer["meta"]["total_values"], answer["meta"]["items_read"]) == (2, 4)


def test_an_exit_page_that_is_no_longer_one_is_not_listed_and_adds_no_visitors_to_the_next(
    feed: Feed, get: Callable[..., Any]
) -> None:
    """A visit of three pages has one exit page: the last."""
    for index, page in enumerate(("/a", "/b", "/c")):
        feed.view(NOON + index * MINUTE_MS, page, session_id="a")
    feed.view(NOON, "/a", visitor=2, session_id="b")

    answer = get(PATH, dimension="exit_page")

    assert [(row["value"], row["visits"], row["visitors"]) for row in answer["data"]] == [("/a", 1, 1), ("/c", 1, 1)]
    assert (answer["meta"]["total_values"], answer["meta"]["items_read"]) == (2, 3)


def test_limit_and_offset_page_through_an_order_without_ties(feed: Feed, get: Callable[..., Any]) -> None:
    """Equal values are told apart by name, so that pages of an answer never overlap."""
    for visitor, page in enumerate(("/d", "/b", "/c", "/a", "/a"), start=1):
        feed.view(NOON, page, visitor=visitor)

    pages = [get(PATH, dimension="page", limit=2, offset=offset) for offset in (0, 2, 4)]

    assert [_values(page, "pageviews") for page in pages] == [[("/a", 2), ("/b", 1)], [("/c", 1), ("/d", 1)], []]
    assert [page["meta"]["total_values"] for page in pages] == [4, 4, 4]


def test_sort_by_any_measure_that_the_dimension_counts(
    feed: Feed, get: Callable[..., Any], refused: Callable[..., tuple[int, str, str]]
) -> None:
    """Pages by visitors and by events; by visits is refused, because a page view is no visit."""
    for minute in range(3):
        feed.view(NOON + minute * MINUTE_MS, "/often", visitor=1)
    for visitor in (2, 3):
        feed.view(NOON, "/wide", visitor=visitor)
    for second in range(4):
        feed.add(feed.event(NOON + second * 1000, type=CLICK, page="/wide", visitor=2))

    assert _values(get(PATH, dimension="page"), "pageviews") == [("/often", 3), ("/wide", 2)]
    assert _values(get(PATH, dimension="page", sort="visitors"), "visitors") == [("/wide", 2), ("/often", 1)]
    assert _values(get(PATH, dimension="page", sort="events"), "events") == [("/wide", 6), ("/often", 3)]
    assert refused(PATH, dimension="page", sort="visits") == (
        400,
        "bad_parameter",
        "page counts single events, not visits: sort by pageviews instead",
    )


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
def test_every_dimension_answers_with_its_main_measure(
    feed: Feed, get: Callable[..., Any], dimension: Dimension
) -> None:
    """One event that has a value for each of them, and one that was not counted."""
    unset = {"page", "event", "entry_page", "exit_page", "dropped"}
    fields = {name: f"some {name}" for name in BY_NAME if name not in unset}
    feed.add(feed.event(NOON, **fields), feed.event(NOON + 1, type=CONVERSION, conversion_type="some conversion_type"))
    feed.add(feed.event(NOON, type=LEDGER, visitor=0, props={"bot": 1}))

    row = get(PATH, dimension=dimension.name, limit=1)["data"][0]

    assert row[dimension.main] == 1
    assert (row["visits"] is None) == (dimension.scope is not Scope.VISIT)
    assert (row["visitors"] is None) == (dimension.scope is Scope.LEDGER)


def test_what_was_not_counted_is_a_row_per_reason_with_nothing_but_the_number_of_events(
    feed: Feed, get: Callable[..., Any], refused: Callable[..., tuple[int, str, str]]
) -> None:
    """What ingest has dropped on two shards, a repeated event, and a reason that came to nothing; nobody visits."""
    once = feed.event(NOON)
    feed.add(once, once)
    feed.add(feed.event(NOON, type=LEDGER, visitor=0, event_id=1, props={"bot": 7, "origin_not_allowed": 2, "rate": 0}))
    feed.add(feed.event(NOON, type=LEDGER, visitor=0, event_id=2, props={"bot": 1}), shard="shardId-000000000001")
    feed.add(feed.event(NOON, "decoy", type=LEDGER, visitor=0, props={"bot": 100}))
    measures = (
        "pageviews", "visits", "visitors", "bounces", "bounce_rate", "views_per_visit", "visit_duration_ms", "clicks",
        "conversions", "engaged_ms", "scroll_percent", "revenue",
    )  # fmt: skip

    answer = get(PATH, dimension="dropped", hours="true")

    rows = [("bot", 8), ("origin_not_allowed", 2), ("duplicate", 1)]
    assert answer["data"] == [{"value": value, "events": n, **dict.fromkeys(measures)} for value, n in rows]
    assert (answer["meta"]["sort"], answer["meta"]["total_values"]) == ("events", 3)
    assert _values(get(PATH, dimension="dropped", sort="events", limit=1), "events") == [("bot", 8)]
    totals = get("/v1/sites/default/totals")["data"]
    assert (totals["events"], totals["visits"], totals["visitors"], totals["duplicates"]) == (1, 1, 1, 1)
    for sort in ("pageviews", "visits", "visitors", "conversions"):
        assert refused(PATH, dimension="dropped", sort=sort) == (
            400,
            "bad_parameter",
            "dropped knows only how many events were not counted: sort by events",
        )


def test_scroll_depth_of_a_page_and_of_a_source_is_the_mean_of_their_views(feed: Feed, get: Callable[..., Any]) -> None:
    """Two visits from Google read /long to 30 % and 61 %; nobody has left /short yet."""
    for visitor, depth in ((1, 30), (2, 61)):
        feed.view(NOON, "/long", visitor=visitor, source="Google")
        feed.add(feed.event(NOON + 9000, visitor=visitor, page="/long", type=PAGE_EXIT, scroll_percent=depth))
    feed.view(NOON, "/short", visitor=3, source="Bing")

    pages, sources = get(PATH, dimension="page"), get(PATH, dimension="source")

    assert _values(pages, "scroll_percent") == [("/long", 46), ("/short", None)]
    assert _values(sources, "scroll_percent") == [("Google", 46), ("Bing", None)]


def test_an_unknown_dimension_is_refused_with_the_list(refused: Callable[..., tuple[int, str, str]]) -> None:
    """The message is the documentation."""
    assert refused(PATH, dimension="colour") == (
        400,
        "unknown_dimension",
        f"dimension does not take 'colour'; use one of {', '.join(BY_NAME)}",
    )
    assert refused(PATH)[:2] == (400, "missing_parameter")


@pytest.mark.parametrize("asked", [{"period": "24h"}, {"from_": "2026-09-21T00:00Z", "to": "2026-09-22T00:00Z"}])
def test_a_range_that_is_no_whole_days_is_refused_and_the_answer_says_what_to_use(
    refused: Callable[..., tuple[int, str, str]], asked: dict[str, Any]
) -> None:
    """Dimension items are days: anything else would be a guess."""
    status, reason, message = refused(PATH, dimension="page", **asked)
    assert (status, reason) == (400, "whole_days_only")
    assert "period=today, yesterday, 7d, 30d, 12mo" in message


@pytest.mark.parametrize(
    ("site", "midnight"),
    [
        ("kolkata", NOON + 6 * HOUR_MS + 30 * MINUTE_MS),
        ("kathmandu", NOON + 6 * HOUR_MS + 15 * MINUTE_MS),
        ("st-johns", NOON - 9 * HOUR_MS - 30 * MINUTE_MS),
    ],
)
def test_a_day_begins_at_the_midnight_of_the_site(
    feed: Feed, get: Callable[..., Any], clock: FakeClock, site: str, midnight: int
) -> None:
    """One millisecond apart, two days apart; and today changes at the same instant."""
    feed.view(midnight - 1, "/before", site=site, visitor=1)
    feed.view(midnight, "/after", site=site, visitor=2)
    path = f"/v1/sites/{site}/breakdown"

    clock.now = midnight - 1
    before = get(path, dimension="page", period="today")
    clock.now = midnight
    after = get(path, dimension="page", period="today", hours="true")

    assert [row["value"] for row in before["data"]] == ["/before"]
    assert [row["value"] for row in after["data"]] == ["/after"]
    assert after["data"][0]["hours"] == [1] + [0] * 23
    assert before["meta"]["to"] == after["meta"]["from"]
    assert [row["value"] for row in get(path, dimension="page", period="yesterday")["data"]] == ["/before"]
