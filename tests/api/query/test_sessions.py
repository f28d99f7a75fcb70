"""Active sessions and the events of a session, in both versions of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from liveinsight.counting.sessions import SESSION_GAP_MS
from liveinsight.counting.timeline import Marked
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.model.events import CLICK, CONVERSION, PAGE_EXIT, Element
from liveinsight.storage.store import Read
from liveinsight.testing.builders import NOON, FakeClock
from liveinsight.testing.memory_store import MemoryStore
from tests.api.conftest import Feed


def test_active_sessions_come_latest_first_with_the_first_versions_names(
    feed: Feed, get: Callable[..., Any], client: FlaskClient, clock: FakeClock
) -> None:
    """A visitor with two tabs, and one visitor without ids."""
    feed.view(NOON - 3 * MINUTE_MS, "/a", session_id="tab-1", user_id="u", title="A", country="DE", device="mobile")
    feed.view(NOON - 2 * MINUTE_MS, "/b", session_id="tab-2", user_id="u", title="B")
    feed.view(NOON - MINUTE_MS, "/c", session_id="tab-1", user_id="u", title="C")
    feed.view(NOON, visitor=2, source="")
    feed.fresh(NOON - 2000)
    clock.now = NOON + 1000

    response = client.get("/api/sessions/active")

    rows = [
        {
            "session_id": f"{2:016x}-{NOON:x}", "user_id": "", "last_activity": NOON,
            "current_page": "https://example.com/", "duration": 1000, "started_at": NOON, "entry_page": "/",
            "title": "", "source": "(direct)", "channel": "Direct", "country": "(unknown)", "device": "(unknown)",
            "browser": "(unknown)", "os": "(unknown)", "pageviews": 1, "events": 1, "left": False,
        },
        {
            "session_id": "tab-1", "user_id": "u", "last_activity": NOON - MINUTE_MS,
            "current_page": "https://example.com/c", "duration": MINUTE_MS + 1000,
            "started_at": NOON - 3 * MINUTE_MS, "entry_page": "/a", "title": "C", "source": "(direct)",
            "channel": "Direct", "country": "DE", "device": "mobile", "browser": "(unknown)", "os": "(unknown)",
            "pageviews": 2, "events": 2, "left": False,
        },
        {
            "session_id": "tab-2", "user_id": "u", "last_activity": NOON - 2 * MINUTE_MS,
            "current_page": "https://example.com/b", "duration": 2 * MINUTE_MS + 1000,
            "started_at": NOON - 2 * MINUTE_MS, "entry_page": "/b", "title": "B", "source": "(direct)",
            "channel": "Direct", "country": "(unknown)", "device": "(unknown)", "browser": "(unknown)",
            "os": "(unknown)", "pageviews": 1, "events": 1, "left": False,
        },
    ]  # fmt: skip
    assert response.get_json() == rows
    freshness = {name: value for name, value in response.headers if name.startswith("X-LiveInsight-")}
    assert freshness == {
        "X-LiveInsight-As-Of": str(NOON - 2000),
        "X-LiveInsight-Lag-Ms": "3000",
        "X-LiveInsight-Complete": "true",
        "X-LiveInsight-Items-Read": "7",
    }
    versioned = get("/v1/sites/default/sessions", limit=2)
    assert versioned["data"] == rows[:2]
    assert (versioned["meta"]["limit"], versioned["meta"]["to"]) == (2, "2026-09-21T12:00:01+00:00")


def test_a_session_has_left_from_its_exit_until_its_next_event(feed: Feed, get: Callable[..., Any]) -> None:
    """An exit that the next page's view follows, one that is the last event, and another tab that stays."""
    feed.view(NOON - 3000, "/a", session_id="tab-1")
    feed.view(NOON - 2500, "/c", session_id="tab-2")
    feed.add(feed.event(NOON - 2000, session_id="tab-1", type=PAGE_EXIT, page="/a"))

    def left() -> dict[str, bool]:
        return {row["session_id"]: row["left"] for row in get("/api/sessions/active")}

    assert left() == {"tab-1": True, "tab-2": False}
    feed.view(NOON - 1000, "/b", session_id="tab-1")
    assert left() == {"tab-1": False, "tab-2": False}
    feed.add(feed.event(NOON, session_id="tab-1", type=PAGE_EXIT, page="/b"))
    assert left() == {"tab-1": True, "tab-2": False}


def test_a_session_is_active_for_exactly_thirty_minutes(feed: Feed, get: Callable[..., Any], clock: FakeClock) -> None:
    """The gap that ends a visit is the one that ends its activity."""
    feed.view(NOON, session_id="a")
    clock.now = NOON + SESSION_GAP_MS
    assert [row["session_id"] for row in get("/api/sessions/active")] == ["a"]
    clock.now += 1
    assert get("/api/sessions/active") == []


def test_the_events_of_a_session_have_the_payloads_names_and_leave_out_what_is_empty(
    feed: Feed, client: FlaskClient, get: Callable[..., Any]
) -> None:
    """A view, a click, a sale in a currency with and one without minor units, and an exit that arrived early."""
    common = {"session_id": "s/1", "user_id": "u"}
    page = {"page": "/a", "page_url": "https://example.com/a"}
    feed.add(
        feed.event(NOON, **common, **page, referrer="https://example.org/", title="A", screen_width=390, language="de"),
        feed.event(NOON + 5, type=PAGE_EXIT, **common, **page, engaged_ms=9000, scroll_percent=80),
        feed.event(NOON + 1, type=CLICK, **common, **page, element=Element("a", "buy", "button big", "Buy now")),
        feed.event(NOON + 2, type=CONVERSION, **common, **page, conversion_type="sale", revenue=1250, currency="EUR"),
        feed.event(NOON + 3, type=CONVERSION, **common, **page, conversion_type="sale", revenue=1250, currency="JPY"),
        feed.event(NOON + 4, type="signup", **common, page_url="", props={"plan": "pro", "seats": 3, "trial": None}),
    )

    base = {"user_id": "u", "session_id": "s/1", "page_url": "https://example.com/a", "referrer": ""}
    events = [
        {
            **base, "event_type": "page_view", "timestamp": NOON, "referrer": "https://example.org/", "title": "A",
            "screen_width": 390, "language": "de",
        },
        {
            **base, "event_type": "click", "timestamp": NOON + 1, "element_tag": "a", "element_id": "buy",
            "element_class": "button big", "element_text": "Buy now",
        },
        {
            **base, "event_type": "conversion", "timestamp": NOON + 2, "conversion_type": "sale",
            "revenue": {"amount": 12.5, "currency": "EUR"},
        },
        {
            **base, "event_type": "conversion", "timestamp": NOON + 3, "conversion_type": "sale",
            "revenue": {"amount": 1250, "currency": "JPY"},
        },
        {
            **base, "event_type": "signup", "timestamp": NOON + 4, "page_url": "",
            "props": {"plan": "pro", "seats": 3, "trial": None},
        },
        {**base, "event_type": "page_exit", "timestamp": NOON + 5, "engaged_ms": 9000, "scroll_percent": 80},
    ]  # fmt: skip
    for path in ("/api/sessions/s/1/events", "/api/sessions/s%2F1/events/", "/api/sessions/s%2F1/events?site=default"):
        assert client.get(path).get_json() == events
    versioned = get("/v1/sites/default/sessions/s%2F1/events", limit=2)
    assert versioned["data"] == events[:2]
    assert (versioned["meta"]["limit"], versioned["meta"]["more"]) == (2, True)
    assert get("/v1/sites/default/sessions/s%2F1/events", limit=6)["meta"]["more"] is False


def test_a_visit_without_ids_is_found_by_the_id_it_is_listed_under(feed: Feed, get: Callable[..., Any]) -> None:
    """The events brought no session id; the answer gives the one they were counted under."""
    feed.view(NOON, visitor=7)
    session_id = get("/api/sessions/active")[0]["session_id"]
    assert [event["session_id"] for event in get(f"/api/sessions/{session_id}/events")] == [session_id]


def test_an_id_that_is_too_long_to_be_stored_is_not_looked_for(
    get: Callable[..., Any], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key has a longest size, and asking the store for a longer one would be its failure."""
    asked: list[str] = []
    read_timeline = store.read_timeline

    def read_and_note(site: str, session_id: str, limit: int) -> Read[Marked]:
        asked.append(session_id)
        return read_timeline(site, session_id, limit)

    monkeypatch.setattr(store, "read_timeline", read_and_note)
    get(f"/api/sessions/{'x' * 256}/events")
    get(f"/api/sessions/{'y' * 257}/events")
    assert asked == ["x" * 256]


def test_an_unknown_session_is_an_empty_array_at_first_and_a_404_in_version_one(
    feed: Feed, get: Callable[..., Any], refused: Callable[..., tuple[int, str, str]]
) -> None:
    """Also one of another site, and an id that is too long to be stored."""
    for session_id in ("nobody", "decoy-session", "x" * 3000):
        assert get(f"/api/sessions/{session_id}/events") == []
        assert refused(f"/v1/sites/default/sessions/{session_id}/events")[:2] == (404, "unknown_session")
