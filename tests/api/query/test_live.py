"""GET /v1/sites/{site}/live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liveinsight.model.buckets import MINUTE_MS
from liveinsight.model.events import HEARTBEAT, PAGE_EXIT
from liveinsight.testing.builders import NOON, FakeClock
from tests.api.conftest import Feed

PATH = "/v1/sites/default/live"


def _present(get: Callable[..., Any], by: str = "page", **parameters: str | int) -> tuple[int, dict[str, int]]:
    data = get(PATH, by=by, **parameters)["data"]
    return data["visitors"], {row["value"]: row["visitors"] for row in data["by"]}


def test_visitors_are_counted_once_at_their_last_minute_and_every_minute_has_a_row(
    feed: Feed, get: Callable[..., Any], clock: FakeClock
) -> None:
    """Visitor 1 stays for six minutes, visitor 2 fell silent four minutes ago, visitor 3 seven."""
    feed.view(NOON - 6 * MINUTE_MS, visitor=1)
    feed.view(NOON - 7 * MINUTE_MS, visitor=3)
    feed.view(NOON - 4 * MINUTE_MS, visitor=2)
    feed.view(NOON - 4 * MINUTE_MS + 1, "/b", visitor=2)
    feed.add(feed.event(NOON, visitor=1, type=HEARTBEAT))
    feed.fresh(NOON)
    clock.now = NOON + 59_999

    answer = get(PATH)

    expected = [
        {"start_ms": NOON - back * MINUTE_MS, "pageviews": views, "visitors": visitors}
        for back in range(29, -1, -1)
        for views, visitors in [{0: (0, 1), 4: (2, 1), 6: (1, 1), 7: (1, 1)}.get(back, (0, 0))]
    ]
    assert answer["data"] == {"visitors": 2, "window_minutes": 5, "pageviews": 2, "minutes": expected}
    assert answer["meta"] == {
        "site": "default", "time_zone": "UTC", "as_of": NOON, "lag_ms": 59_999, "complete": False, "items_read": 5,
        "from": "2026-09-21T11:56:00+00:00", "to": "2026-09-21T12:01:00+00:00",
    }  # fmt: skip
    assert get(PATH, minutes=4)["data"]["visitors"] == 1
    assert get(PATH, minutes=8)["data"]["visitors"] == 3


def test_a_window_beyond_the_listed_minutes_counts_all_of_itself(feed: Feed, get: Callable[..., Any]) -> None:
    """60 minutes are read, 30 are listed."""
    feed.view(NOON - 59 * MINUTE_MS, visitor=1)
    feed.view(NOON - 60 * MINUTE_MS, visitor=2)
    data = get(PATH, minutes=60)["data"]
    assert (data["visitors"], data["pageviews"], len(data["minutes"])) == (1, 1, 30)


def test_visitors_of_several_shards_are_summed(feed: Feed, get: Callable[..., Any]) -> None:
    """Each shard has its own minute items; a visitor who moved to a child shard is counted once."""
    feed.view(NOON - MINUTE_MS, visitor=1, shard="shardId-000000000000")
    feed.view(NOON, visitor=1, shard="shardId-000000000002")
    feed.view(NOON, visitor=2, shard="shardId-000000000001")
    data = get(PATH)["data"]
    assert (data["visitors"], data["pageviews"], data["minutes"][-1]["visitors"]) == (2, 3, 2)


def test_present_visitors_by_page_source_and_country_are_where_their_last_event_was(
    feed: Feed, get: Callable[..., Any]
) -> None:
    """Visitor 1 walks from / to /a, visitor 2 stays on /, visitor 3 is there from six minutes ago and counts no more.

    minute      -6      -2      -1      0
    visitor 1           /       /a      (beat on /a)
    visitor 2                   /
    visitor 3   /a
    """
    feed.view(NOON - 6 * MINUTE_MS, "/a", visitor=3, source="Bing", country="FR")
    feed.view(NOON - 2 * MINUTE_MS, "/", visitor=1, source="Google", country="DE")
    feed.view(NOON - MINUTE_MS, "/a", visitor=1, source="", country="DE")
    feed.view(NOON - MINUTE_MS, "/", visitor=2, source="", country="", shard="shardId-000000000001")
    feed.add(feed.event(NOON, visitor=1, type=HEARTBEAT, page="/a", source="", country="DE"))
    feed.fresh(NOON)

    answer = get(PATH, by="page")

    assert answer["data"]["by"] == [{"value": "/", "visitors": 1}, {"value": "/a", "visitors": 1}]
    assert answer["data"]["visitors"] == 2
    assert answer["meta"]["items_read"] == get(PATH)["meta"]["items_read"] + 4
    assert _present(get, "page", minutes=8) == (3, {"/": 1, "/a": 2})
    assert _present(get, "source") == (2, {"Google": 1, "(direct)": 1})
    assert _present(get, "country") == (2, {"DE": 1, "(unknown)": 1})
    assert "by" not in get(PATH)["data"]


def test_a_visitor_who_leaves_the_last_open_page_is_no_longer_there(feed: Feed, get: Callable[..., Any]) -> None:
    """Visitor 1 leaves two tabs, moves to a child shard meanwhile, and comes back with a new page; visitor 2 stays."""
    child = "shardId-000000000002"
    feed.view(NOON - 3000, "/a", visitor=1, session_id="tab-1", source="Google")
    feed.view(NOON - 2000, "/b", visitor=1, session_id="tab-2", source="Google")
    feed.view(NOON - 2000, "/b", visitor=2, session_id="other", source="Bing")
    assert (_present(get), _present(get, "source")) == ((2, {"/b": 2}), (2, {"Google": 1, "Bing": 1}))

    feed.add(feed.event(NOON - 1500, visitor=1, session_id="tab-1", type=PAGE_EXIT, page="/a"))
    assert get(PATH)["data"]["visitors"] == 2
    last_exit = feed.event(NOON - 1000, visitor=1, session_id="tab-2", type=PAGE_EXIT, page="/b")
    feed.add(last_exit, shard=child)
    assert (_present(get), _present(get, "source")) == ((1, {"/b": 1}), (1, {"Bing": 1}))

    feed.view(NOON, "/c", visitor=1, session_id="tab-2", source="Google", shard=child)
    assert (_present(get), _present(get, "source")) == ((2, {"/b": 1, "/c": 1}), (2, {"Google": 1, "Bing": 1}))


def test_the_ten_values_with_the_most_present_visitors_are_listed_and_ties_are_in_order_of_name(
    feed: Feed, get: Callable[..., Any]
) -> None:
    """Twelve pages: /11 has two visitors, the others one each."""
    for visitor in range(12):
        feed.view(NOON, f"/{visitor:02}", visitor=visitor + 1)
    feed.view(NOON, "/11", visitor=13)

    rows = get(PATH, by="page")["data"]["by"]

    assert [(row["value"], row["visitors"]) for row in rows] == [("/11", 2), *((f"/{n:02}", 1) for n in range(9))]


def test_visitors_cannot_be_listed_by_a_dimension_that_is_not_kept_by_the_minute(
    refused: Callable[..., tuple[int, str, str]],
) -> None:
    """The message names those that are."""
    assert refused(PATH, by="browser") == (
        400,
        "bad_parameter",
        "by does not take 'browser'; use one of page, source, country",
    )
