"""The tracker in a real browser: ids, sessions, and what is stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.pages import BUTTONS, stored

if TYPE_CHECKING:
    from tests.browser.conftest import Collector, Visitor

pytestmark = pytest.mark.browser


def test_a_reload_keeps_user_and_session(visitor: Visitor, collector: Collector) -> None:
    """Same tab, same visit: both ids stay. Another tab: same user, own session."""
    url = collector.page("/")
    page = visitor.open(url)
    collector.wait_for("page_view")
    page.reload()
    collector.wait_for("page_view", 2)
    visitor.open(url)
    first, second, third = collector.wait_for("page_view", 3)
    assert first["user_id"] == second["user_id"] == third["user_id"]
    assert first["session_id"] == second["session_id"] != third["session_id"]


def test_thirty_minutes_of_silence_end_the_session(visitor: Visitor, collector: Collector) -> None:
    """An act after 31 minutes opens a new session with a page_view; 29 minutes do not."""
    page = visitor.open(collector.page("/"), clock=True)
    for minutes in (29, 31):
        page.clock.fast_forward(minutes * 60_000)
        page.evaluate("(n) => LiveInsight.track('after_' + n)", minutes)
        page.clock.run_for(100)
        collector.wait_for(f"after_{minutes}")
    kinds = [(event["event_type"], event["session_id"]) for event in collector.distinct_events]
    old, new = kinds[0][1], kinds[-1][1]
    assert old != new
    assert kinds == [
        ("page_view", old),
        ("after_29", old),
        ("page_exit", old),
        ("page_view", new),
        ("after_31", new),
    ]


@pytest.mark.parametrize(
    "breakage",
    [
        "Object.defineProperty(window, '{}', {{get() {{ throw new DOMException('no', 'SecurityError'); }}}})",
        "Object.defineProperty(window, '{}', {{value: undefined}})",
        "Object.defineProperty(window, '{}', {{value: {{getItem: () => null, removeItem() {{}},"
        " setItem() {{ throw new DOMException('full', 'QuotaExceededError'); }}}}}})",
    ],
)
def test_without_storage_ids_live_as_long_as_the_page(visitor: Visitor, collector: Collector, breakage: str) -> None:
    """Storage that throws, is missing or full: events still carry ids, the same ones within the page."""
    for area in ("localStorage", "sessionStorage"):
        visitor.before_each_page(breakage.format(area))
    page = visitor.open(collector.page("/", BUTTONS))
    page.click("#buy")
    view, click = collector.wait_for("page_view") + collector.wait_for("click")
    assert view["user_id"] == click["user_id"] != ""
    assert view["session_id"] == click["session_id"] != ""


def test_ids_without_a_crypto_api(visitor: Visitor, collector: Collector) -> None:
    """A browser without crypto still makes distinct ids."""
    visitor.before_each_page("Object.defineProperty(window, 'crypto', {value: undefined})")
    visitor.open(collector.page("/"))
    [event] = collector.wait_for("page_view")
    user_id, dot, rest = event["session_id"].partition(".")
    assert (user_id, dot) == (event["user_id"], ".")
    assert re.fullmatch("[0-9a-f]{12}", rest)
    assert event["id"] != user_id
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in (event["id"], user_id))


@pytest.mark.parametrize(
    ("signal", "attributes"),
    [
        ("Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})", ""),
        ("Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})", ""),
        ("", "data-cookieless"),
    ],
)
def test_privacy_signals_send_no_ids_and_store_nothing(
    visitor: Visitor, collector: Collector, signal: str, attributes: str
) -> None:
    """GPC, DNT and data-cookieless: events go without ids, nothing is stored, not even after a failure."""
    before = visitor.open(collector.page("/before"))
    collector.wait_for("page_view")
    assert stored(before) == ["liveinsight_session", "liveinsight_user"]
    before.close()
    visitor.before_each_page(signal)
    page = visitor.open(collector.page("/", BUTTONS, tag=collector.tag(attributes)))
    page.click("#buy")
    page.evaluate("LiveInsight.track('named', {user_id: 'me', session_id: 'mine'})")
    collector.wait_for("named")
    assert stored(page) == []
    collector.answer(503)
    page.evaluate("LiveInsight.track('refused')")
    collector.wait_until(lambda: bool(collector.refused), "a refused event")
    page.wait_for_timeout(100)
    assert stored(page) == []
    private = [event for event in collector.events + collector.refused if event["page_url"].endswith("/")]
    assert {event["event_type"] for event in private} == {"page_view", "click", "named", "refused"}
    assert all("user_id" not in event and "session_id" not in event for event in private)


def test_the_ignore_flag_stops_sending(visitor: Visitor, collector: Collector) -> None:
    """With liveinsight_ignore set nothing is sent; without it again, events flow."""
    page = visitor.open(collector.page("/", BUTTONS))
    collector.wait_for("page_view")
    page.evaluate("localStorage.liveinsight_ignore = 'true'")
    page.click("#buy")
    page.evaluate("localStorage.removeItem('liveinsight_ignore')")
    assert collector.types_after(page) == ["page_view"]
