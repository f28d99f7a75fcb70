"""The tracker in a real browser: outages, refusals, and what waits in the browser meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.browser.pages import HIDE, stored

if TYPE_CHECKING:
    from tests.browser.conftest import Collector, Visitor

pytestmark = pytest.mark.browser


def test_an_outage_loses_nothing(visitor: Visitor, collector: Collector) -> None:
    """503, then recovery: the very same events arrive, once each, not before Retry-After has passed."""
    collector.answer(503, retry_after=60)
    page = visitor.open(collector.page("/"), clock=True)
    page.clock.run_for(100)
    [refused] = collector.wait_for_requests(1)
    page.wait_for_function("localStorage.liveinsight_unsent")
    page.evaluate("for (let n = 0; n < 3; n++) LiveInsight.track('during')")
    page.clock.run_for(50_000)
    assert len(collector.requests) == 1
    collector.accept()
    page.clock.run_for(15_000)
    collector.wait_for("during", 3)
    ids = [event["id"] for event in collector.events]
    assert [event["event_type"] for event in collector.events] == ["page_view"] + ["during"] * 3
    assert ids[0] == refused.events[0]["id"]
    assert len(set(ids)) == 4
    delays = [event["sent_at"] - event["timestamp"] for event in collector.events]
    assert min(delays) > 50_000
    page.wait_for_function("!localStorage.liveinsight_unsent")


def test_retries_back_off(visitor: Visitor, collector: Collector) -> None:
    """Without Retry-After the pauses grow: about 1, 2, 4 ... seconds."""
    collector.answer(500)
    page = visitor.open(collector.page("/"), clock=True)
    for second in range(14):
        page.clock.run_for(1_000)
        page.wait_for_timeout(30)
        if second == 0:
            collector.wait_for_requests(1)
    assert 3 <= len(collector.requests) <= 6
    assert len({event["id"] for event in collector.refused}) == 1


def test_a_server_that_hangs_is_tried_again(visitor: Visitor, collector: Collector) -> None:
    """A request without an answer is given up after 30 s and its events are sent anew."""
    collector.hang()
    page = visitor.open(collector.page("/"), clock=True)
    page.clock.run_for(100)
    [hanging] = collector.wait_for_requests(1)
    collector.accept()
    page.clock.run_for(35_000)
    assert collector.wait_for("page_view")[0]["id"] == hanging.events[0]["id"]


def test_what_was_made_offline_is_sent_by_the_next_page(visitor: Visitor, collector: Collector) -> None:
    """Events made offline outlive the tab and are sent, once, by the next page."""
    url = collector.page("/")
    visitor.context.new_page()  # the browser stays when the other tab goes
    page = visitor.open(url)
    collector.wait_for("page_view")
    visitor.context.set_offline(True)
    page.evaluate("LiveInsight.track('offline')")
    page.wait_for_function("localStorage.liveinsight_unsent")
    [entry] = page.evaluate("JSON.parse(localStorage.liveinsight_unsent)")
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    visitor.context.set_offline(False)
    following = visitor.open(url)
    assert collector.wait_for("offline")[0]["id"] == entry["id"]
    assert sorted(collector.types_after(following)) == ["offline", "page_exit", "page_view", "page_view"]
    assert stored(following) == ["liveinsight_session", "liveinsight_user"]


def test_a_page_that_was_left_leaves_its_events_to_the_next(visitor: Visitor, collector: Collector) -> None:
    """A closing page may live on for a moment: it sends nothing that it kept, unless the visitor comes back to it."""
    url = collector.page("/")
    page = visitor.open(url)
    collector.wait_for("page_view")
    visitor.context.set_offline(True)
    page.evaluate("LiveInsight.track('offline')")
    page.wait_for_function("localStorage.liveinsight_unsent")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    visitor.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_timeout(1_500)
    assert [event["event_type"] for event in collector.events] == ["page_view"]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    collector.wait_for("offline")
    assert sorted(collector.types_after(page)) == ["offline", "page_exit", "page_view", "page_view"]


def test_being_online_again_sends_at_once(visitor: Visitor, collector: Collector) -> None:
    """The browser's online event ends the pause."""
    page = visitor.open(collector.page("/"), clock=True)
    page.clock.run_for(100)
    collector.wait_for("page_view")
    visitor.context.set_offline(True)
    page.evaluate("LiveInsight.track('offline')")
    page.clock.run_for(100)
    page.wait_for_function("localStorage.liveinsight_unsent")
    page.clock.pause_at(time.time() + 60)
    # The leap made it try again. What fails after that says that it has failed.
    page.evaluate("fetch('/').catch(() => 0)")
    visitor.context.set_offline(False)
    collector.wait_for("offline")
    page.clock.resume()


def test_old_leftovers_and_damaged_ones_are_not_sent(visitor: Visitor, collector: Collector) -> None:
    """Kept events older than a day, and anything unreadable in their place, are ignored."""
    url = collector.page("/")
    old = '[{"id":"1","at":1000,"json":"{\\"event_type\\":\\"old\\"}"}]'
    for left in (old, "not json", "null", "[1,null]"):
        page = visitor.open(collector.page("/empty", tag=""))
        page.evaluate("(left) => { localStorage.liveinsight_unsent = left }", left)
        page.goto(url)
        assert set(collector.types_after(page)) <= {"page_view", "page_exit"}
        page.close()


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_refused_events_are_dropped(visitor: Visitor, collector: Collector, status: int) -> None:
    """A 4xx answer is final: the events are not sent again and not kept, later ones flow."""
    page = visitor.open(collector.page("/"))
    collector.wait_for("page_view")
    collector.answer(status)
    page.evaluate("LiveInsight.track('refused')")
    collector.wait_until(lambda: bool(collector.refused), "a refused event")
    collector.accept()
    assert collector.types_after(page) == ["page_view"]
    assert len(collector.refused) == 1
    assert stored(page) == ["liveinsight_session", "liveinsight_user"]


def test_too_many_requests_is_retried(visitor: Visitor, collector: Collector) -> None:
    """429 is no refusal of the events."""
    collector.answer(429, retry_after=1)
    visitor.open(collector.page("/"))
    [first] = collector.wait_for_requests(1)
    collector.accept()
    assert collector.wait_for("page_view")[0]["id"] == first.events[0]["id"]
    assert collector.requests[1].at - first.at >= 1


def test_a_long_outage_keeps_the_newest_200_events(visitor: Visitor, collector: Collector) -> None:
    """The queue holds 200 events, storage 100; beyond that the oldest go."""
    collector.answer(503, retry_after=5)
    page = visitor.open(collector.page("/"), clock=True)
    page.clock.run_for(100)
    page.wait_for_function("localStorage.liveinsight_unsent")
    page.evaluate("for (let n = 0; n < 250; n++) LiveInsight.track('event_' + n)")
    page.evaluate(HIDE, True)
    assert page.evaluate("JSON.parse(localStorage.liveinsight_unsent).length") == 100
    collector.accept()
    for _ in range(4):
        page.clock.run_for(8_000)
    collector.wait_for("event_249")
    assert [event["event_type"] for event in collector.events] == [f"event_{n}" for n in range(50, 250)]


def test_more_than_a_browser_lets_out_at_the_end_is_sent_later(visitor: Visitor, collector: Collector) -> None:
    """Bodies stay under the keepalive limit; what does not fit at the end comes with the next page."""
    url = collector.page("/")
    page = visitor.open(url)
    collector.wait_for("page_view")
    page.evaluate(
        "for (let n = 0; n < 60; n++) LiveInsight.track('big', {number: n, text: '\u00e4'.repeat(1000)});"
        "location.href = '/?next'"
    )

    # Pairs of number and id: a batch that the page change cuts off may come twice, but as the same events.
    def big() -> set[tuple[int, str]]:
        found = [event for event in collector.events if event["event_type"] == "big"]
        return {(event["props"]["number"], event["id"]) for event in found}

    collector.wait_until(lambda: len(big()) >= 60, "60 different events")
    assert sorted(number for number, _ in big()) == list(range(60))
    assert max(len(request.body) for request in collector.requests) <= 56_000
    collector.wait_for("page_exit")
