"""The tracker in a real browser: where a page view begins and ends, and how long somebody was engaged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.browser.pages import HIDE, stored

if TYPE_CHECKING:
    from tests.browser.conftest import Collector, Visitor

pytestmark = pytest.mark.browser


def test_navigation_sends_one_page_exit(visitor: Visitor, collector: Collector) -> None:
    """Leaving by a link delivers one page_exit of the page left, with engaged time and scroll depth."""
    collector.page("/second")
    first = collector.page("/first", "<p style='height:5400px'></p><a href=/second>go</a>", title="One")
    page = visitor.open(first)
    collector.wait_for("page_view")
    page.evaluate("scrollTo(0, 2000)")
    page.wait_for_function("scrollY === 2000")
    page.evaluate("location.href = '/second'")
    [event] = collector.wait_for("page_exit")
    assert (event["page_url"], event["title"]) == (first, "One")
    assert 0 < event["engaged_ms"] < 8000
    assert 40 <= event["scroll_percent"] <= 55
    collector.wait_for("page_view", 2)
    assert collector.types_after(page).count("page_exit") == 1


def test_closing_the_tab_sends_the_page_exit(visitor: Visitor, collector: Collector) -> None:
    """Closing the tab delivers what is queued and the page_exit."""
    page = visitor.open(collector.page("/"))
    collector.wait_for("page_view")
    page.evaluate("LiveInsight.track('last_words')")
    page.close(run_before_unload=True)
    collector.wait_for("page_exit")
    assert [event["event_type"] for event in collector.events] == ["page_view", "last_words", "page_exit"]


def test_hiding_is_no_exit_but_sends_what_is_queued(visitor: Visitor, collector: Collector) -> None:
    """A hidden page sends its queue at once, and no page_exit."""
    page = visitor.open(collector.page("/"), clock=True)
    page.clock.run_for(100)
    collector.wait_for("page_view")
    # Its answer is there when that of a later request is: the leap would time it out.
    page.evaluate("fetch('/').then(() => 0)")
    page.clock.pause_at(time.time() + 60)
    page.evaluate("LiveInsight.track('queued')")
    page.evaluate(HIDE, True)
    collector.wait_for("queued")
    page.clock.resume()
    assert "page_exit" not in collector.types_after(page)


def test_heartbeats_only_while_visible(visitor: Visitor, collector: Collector) -> None:
    """A visible page beats every 30 s with the time engaged; a hidden one does not."""
    page = visitor.open(collector.page("/", tag=collector.tag()), clock=True)
    page.clock.run_for(100)
    collector.wait_for("page_view")
    page.clock.run_for(29_000)
    assert "heartbeat" not in [event["event_type"] for event in collector.events]
    page.clock.run_for(2_000)
    collector.wait_for("heartbeat")
    page.clock.run_for(30_000)
    beats = collector.wait_for("heartbeat", 2)
    assert 29_000 <= beats[0]["engaged_ms"] <= 32_000
    assert beats[0]["scroll_percent"] == 100
    page.evaluate(HIDE, True)
    page.clock.run_for(200_000)
    page.evaluate(HIDE, False)
    page.clock.run_for(1_000)
    page.evaluate("LiveInsight.track('sentinel')")
    page.clock.run_for(100)
    collector.wait_for("sentinel")
    assert [event["event_type"] for event in collector.distinct_events].count("heartbeat") == 2


def test_hiding_reports_engagement_a_phone_could_lose(visitor: Visitor, collector: Collector) -> None:
    """Hiding reports more than three unreported seconds as engagement; time hidden is not engaged."""
    page = visitor.open(collector.page("/"), clock=True)
    page.clock.run_for(10_000)
    page.evaluate(HIDE, True)
    [event] = collector.wait_for("engagement")
    assert 10_000 <= event["engaged_ms"] <= 13_000
    page.clock.run_for(60_000)
    page.evaluate(HIDE, False)
    page.goto("about:blank")
    assert collector.wait_for("page_exit")[0]["engaged_ms"] < 3000


def test_a_route_change_is_a_page_view(visitor: Visitor, collector: Collector) -> None:
    """pushState to another path ends one view and begins the next, with the late title and inner referrer."""
    url = collector.page("/one", title="One")
    page = visitor.open(url)
    collector.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '/two'); document.title = 'Two'")
    second = collector.wait_for("page_view", 2)[1]
    assert second["page_url"] == collector.page_origin + "/two"
    assert (second["title"], second["referrer"]) == ("Two", url)
    assert collector.wait_for("page_exit")[0]["page_url"] == url
    page.go_back()
    assert collector.wait_for("page_view", 3)[2]["page_url"] == url
    assert collector.types_after(page) == ["page_view"] + ["page_exit", "page_view"] * 2


def test_a_route_change_without_a_new_path_is_none(visitor: Visitor, collector: Collector) -> None:
    """Query, fragment and state changes send nothing; a redirect inside the router counts once."""
    page = visitor.open(collector.page("/one"))
    page.evaluate("history.replaceState({}, '', '?tab=2'); history.pushState({}, '', '#part')")
    assert collector.types_after(page) == ["page_view"]
    page.evaluate("history.pushState({}, '', '/login'); history.replaceState({}, '', '/home')")
    assert collector.wait_for("page_view", 2)[1]["page_url"] == collector.page_origin + "/home"
    assert collector.types_after(page) == ["page_view", "page_exit", "page_view"]


def test_hash_routes_count_when_asked_for(visitor: Visitor, collector: Collector) -> None:
    """With data-hash, a new fragment is a new page view."""
    page = visitor.open(collector.page("/app", tag=collector.tag("data-hash data-heartbeat=0")))
    page.evaluate("location.hash = '#/settings'")
    assert collector.wait_for("page_view", 2)[1]["page_url"].endswith("/app#/settings")


def test_back_from_the_page_cache_is_a_new_page_view(visitor: Visitor, collector: Collector) -> None:
    """A page restored by the back button sends a page_view once more, and can exit once more."""
    page = visitor.open(collector.page("/"))
    page.evaluate(
        "dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}));"
        "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"
    )
    collector.wait_for("page_view", 2)
    assert collector.types_after(page) == ["page_view", "page_exit", "page_view"]
    page.goto("about:blank")
    collector.wait_for("page_exit", 2)


def test_a_prerendered_page_waits_until_it_is_shown(visitor: Visitor, collector: Collector) -> None:
    """While prerendering nothing is sent or stored; activation sends the page_view, then earlier calls."""
    visitor.before_each_page("Object.defineProperty(document, 'prerendering', {value: true, configurable: true})")
    page = visitor.open(collector.page("/"))
    page.evaluate("LiveInsight.track('early')")
    assert stored(page) == []
    assert collector.requests == []
    page.evaluate(
        "Object.defineProperty(document, 'prerendering', {value: false});"
        "document.dispatchEvent(new Event('prerenderingchange'))"
    )
    assert collector.types_after(page) == ["page_view", "early"]
