"""The tracker in a real browser: pages that break it, ways to start it, and its files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.pages import BUTTONS, HIDE

if TYPE_CHECKING:
    from tests.browser.conftest import Collector, Visitor

pytestmark = pytest.mark.browser
TRACKER_FOLDER = Path(__file__).parents[2] / "tracker"


@pytest.mark.parametrize(
    ("hostility", "delivers"),
    [
        ("delete window.fetch", True),
        ("delete window.fetch; delete window.XMLHttpRequest", True),
        ("window.fetch = () => { throw new TypeError('wrapped badly'); }", True),
        ("window.fetch = () => undefined", True),
        ("delete Request.prototype.keepalive", True),
        ("delete window.AbortController", True),
        ("delete window.fetch; delete window.XMLHttpRequest; navigator.sendBeacon = () => false", False),
        ("JSON.stringify = () => { throw new Error('no'); }", False),
        ("Array.prototype.toJSON = function () { return 'broken'; }", True),
        ("console.warn = () => { throw new Error('no'); }", True),
        ("delete Event.prototype.composedPath", True),
    ],
)
def test_a_hostile_page_never_sees_an_exception(
    visitor: Visitor, collector: Collector, hostility: str, delivers: bool
) -> None:
    """Whatever the page broke, the tracker does not throw, and delivers by another way where there is one."""
    visitor.before_each_page(hostility)
    page = visitor.open(collector.page("/", BUTTONS, tag=collector.tag("data-debug data-heartbeat=0")))
    page.click("#buy")
    page.evaluate("history.pushState({}, '', '/other'); LiveInsight.track('custom', {a: [1, 2]})")
    if delivers:
        types = collector.types_after(page)
        # Beacons may overtake each other.
        assert sorted(types) == ["click", "custom", "page_exit", "page_view", "page_view"]
        page.goto("about:blank")
        collector.wait_for("page_exit", 2)
    else:
        page.goto("about:blank")
        assert collector.requests == []


def test_an_old_firefox_leaves_by_beacon(visitor: Visitor, collector: Collector) -> None:
    """Where fetch has no keepalive, the exit goes by sendBeacon, or it would be cut off with the page."""
    visitor.before_each_page(
        "delete Request.prototype.keepalive; const send = navigator.sendBeacon.bind(navigator);"
        "navigator.sendBeacon = (url, blob) => send(url + '?beacon', blob)"
    )
    page = visitor.open(collector.page("/"))
    collector.wait_for("page_view")
    page.goto("about:blank")
    collector.wait_for("page_exit")
    assert [request.path for request in collector.requests] == ["/collect", "/collect?beacon"]


def test_a_last_try_that_fails_is_not_repeated_forever(visitor: Visitor, collector: Collector) -> None:
    """Without storage and with every way out closed, hiding the page makes one attempt and returns."""
    visitor.before_each_page(
        "delete window.fetch; delete window.XMLHttpRequest; window.tries = 0;"
        "navigator.sendBeacon = () => ++window.tries > 50"
    )
    page = visitor.open(collector.page("/", tag=collector.tag("data-cookieless")))
    page.wait_for_function("tries > 0")
    tries = page.evaluate("tries")
    page.evaluate(HIDE, True)
    assert page.evaluate("tries") == tries + 1
    assert collector.requests == []


def test_nonsense_arguments_are_harmless(visitor: Visitor, collector: Collector) -> None:
    """Public calls with the wrong arguments neither throw nor send."""
    page = visitor.open(collector.page("/"))
    page.evaluate(
        """() => {
          LiveInsight.init(); LiveInsight.init(null); LiveInsight.track(); LiveInsight.track(null, 5);
          LiveInsight.track({toString() { throw new Error('no'); }});
          LiveInsight.track('trap', {get trap() { throw new Error('no'); }});
        }"""
    )
    assert collector.types_after(page) == ["page_view"]


def test_init_by_hand(visitor: Visitor, collector: Collector) -> None:
    """A tag without data-site waits for init; earlier calls follow the page_view; init acts once."""
    page = visitor.open(collector.page("/", tag=collector.tag(site=None)))
    page.evaluate("LiveInsight.track('early')")
    assert collector.requests == []
    page.evaluate(
        "(apiUrl) => [1, 2].forEach(() => LiveInsight.init({apiUrl, site: 'shop', heartbeatSeconds: 0}))",
        collector.collect_url,
    )
    assert collector.types_after(page) == ["page_view", "early"]
    assert {event["site"] for event in collector.events} == {"shop"}


def test_the_script_twice_counts_once(visitor: Visitor, collector: Collector) -> None:
    """A page that carries the tag twice sends one page_view; an empty data-site sends no site."""
    page = visitor.open(collector.page("/", BUTTONS, tag=collector.tag(site="") * 2))
    page.click("#buy")
    assert collector.types_after(page) == ["page_view", "click"]
    assert all("site" not in event for event in collector.events)


def test_the_tracker_stays_small() -> None:
    """As served, comments included, the script is under 7.5 KB compressed."""
    assert len(gzip.compress((TRACKER_FOLDER / "liveinsight.js").read_bytes(), 9)) < 7500


def test_the_demo_calls_no_third_party() -> None:
    """Demo pages load the tracker from the ingest endpoint and nothing from anywhere else."""
    pages = sorted((TRACKER_FOLDER / "demo").glob("*.html"))
    assert len(pages) >= 4
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert 'src="{{INGEST_URL}}/tracker.js"' in text, page.name
        assert "{{DASHBOARD_URL}}" in text, page.name
        assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", text) == [], page.name
