"""The tracker in a real browser: what an action of the visitor sends, and what sends nothing."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.pages import BUTTONS

if TYPE_CHECKING:
    from tests.browser.conftest import Collector, Visitor

pytestmark = pytest.mark.browser


def test_a_page_view_carries_every_field(visitor: Visitor, collector: Collector) -> None:
    """Opening a page sends one page_view with the contract's fields, and nothing else."""
    url = collector.page("/hello", title="Hello")
    before = time.time() * 1000
    page = visitor.open(url + "?utm_source=x")
    event: dict[str, Any] = dict(*collector.wait_for("page_view"))
    after = time.time() * 1000
    assert before - 1 <= event.pop("timestamp") <= event.pop("sent_at") <= after + 1
    ids = [event.pop(name) for name in ("id", "user_id", "session_id")]
    assert all(re.fullmatch(r"[0-9a-f-]{32,36}", each) for each in ids[:2])
    assert ids[0] != ids[1]
    assert re.fullmatch(re.escape(ids[1]) + r"\.[0-9a-f]{12}", ids[2])
    assert event == {
        "event_type": "page_view",
        "page_url": url + "?utm_source=x",
        "user_agent": page.evaluate("navigator.userAgent"),
        "title": "Hello",
        "site": "blog",
        "screen_width": 1000,
        "language": "en-GB",
    }
    assert collector.types_after(page) == ["page_view"]


def test_the_referrer_is_the_page_before(visitor: Visitor, collector: Collector) -> None:
    """Following a link sends the page_view of the new page with the old one as referrer."""
    collector.page("/second")
    first = collector.page("/first", "<a href=/second>go</a>")
    page = visitor.open(first)
    page.click("a")
    assert collector.wait_for("page_view", 2)[1]["referrer"] == first


def test_a_request_is_plain_text_without_preflight_or_cookies(visitor: Visitor, collector: Collector) -> None:
    """Requests are CORS-simple: text/plain, no OPTIONS before them, no credentials."""
    url = collector.page("/", BUTTONS)
    visitor.context.add_cookies([{"name": "secret", "value": "1", "url": collector.collect_url}])
    page = visitor.open(url)
    page.click("#buy")
    collector.types_after(page)
    page.goto("about:blank")
    collector.wait_for("page_exit")
    assert {request.method for request in collector.requests} == {"POST"}
    assert {request.headers["content-type"].split(";")[0] for request in collector.requests} == {"text/plain"}
    assert all("cookie" not in request.headers for request in collector.requests)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("#link", {"element_tag": "a", "element_id": "link", "element_text": "Further down"}),
        (
            "#inner",
            {
                "element_tag": "button",
                "element_id": "buy",
                "element_class": "primary wide",
                "element_text": "Buy now",
            },
        ),
        ("#send", {"element_tag": "input", "element_id": "send", "element_text": "Send it"}),
        ("#fake", {"element_tag": "span", "element_id": "fake", "element_text": "Close"}),
    ],
)
def test_a_click_describes_the_link_or_button(
    visitor: Visitor, collector: Collector, selector: str, expected: dict[str, str]
) -> None:
    """A click on a link or button, or on something inside it, sends one click that describes the element."""
    page = visitor.open(collector.page("/", BUTTONS))
    page.evaluate("document.body.addEventListener('click', (event) => event.stopPropagation())")
    page.dispatch_event(selector, "click")
    [event] = collector.wait_for("click")
    assert {name: value for name, value in event.items() if name.startswith("element_")} == expected
    assert collector.types_after(page) == ["page_view", "click"]


def test_a_click_inside_a_shadow_root_is_seen(visitor: Visitor, collector: Collector) -> None:
    """A button inside a web component is described, not its host."""
    page = visitor.open(collector.page("/", BUTTONS))
    page.evaluate(
        "document.getElementById('host').attachShadow({mode: 'open'}).innerHTML = '<button id=in><b>Deep</b></button>'"
    )
    page.click("#in b")
    assert collector.wait_for("click")[0]["element_text"] == "Deep"


@pytest.mark.parametrize("selector", ["#plain", "#text"])
def test_other_clicks_send_nothing(visitor: Visitor, collector: Collector, selector: str) -> None:
    """A click on plain text or in a text field sends nothing."""
    page = visitor.open(collector.page("/", BUTTONS))
    page.click(selector)
    assert collector.types_after(page) == ["page_view"]


def test_element_text_is_cut_at_100_characters(visitor: Visitor, collector: Collector) -> None:
    """A long label is cut to 100 characters and never in the middle of one."""
    page = visitor.open(collector.page("/", f"<button>{'x' * 99}\U0001f600 and more</button>"))
    page.click("button")
    assert collector.wait_for("click")[0]["element_text"] == "x" * 99


def test_a_conversion_carries_type_and_revenue(visitor: Visitor, collector: Collector) -> None:
    """trackConversion sends its type, the revenue, and the rest as properties."""
    page = visitor.open(collector.page("/"))
    page.evaluate("LiveInsight.trackConversion('order', {revenue: {amount: 12.5, currency: 'EUR'}, coupon: 'MAY'})")
    [event] = collector.wait_for("conversion")
    assert event["conversion_type"] == "order"
    assert event["revenue"] == {"amount": 12.5, "currency": "EUR"}
    assert event["props"] == {"coupon": "MAY"}


def test_track_sorts_data_into_fields_and_props(visitor: Visitor, collector: Collector) -> None:
    """Known payload names go to the top level, the rest to props; nobody renames the event through data."""
    page = visitor.open(collector.page("/"))
    page.evaluate(
        "LiveInsight.track('signup', {title: 'Other', plan: 'pro', seats: 3, deep: {a: 1}, none: null,"
        " work: () => 1, event_type: 'forged', props: {extra: true}, screen_width: 'wide'})"
    )
    [event] = collector.wait_for("signup")
    assert event["title"] == "Other"
    assert event["props"] == {"plan": "pro", "seats": 3, "deep": '{"a":1}', "extra": True}
    assert "screen_width" not in event


def test_a_bad_event_does_not_take_others_with_it(visitor: Visitor, collector: Collector) -> None:
    """What cannot be sent is left out alone; half characters and a shadowed title do no harm."""
    page = visitor.open(collector.page("/", "<img name=title>"))
    page.evaluate(
        """() => {
          const loop = {}; loop.loop = loop;
          LiveInsight.track('circular', {loop});
          const huge = {};
          for (let n = 0; n < 30; n++) huge[n] = '\u20ac'.repeat(2000);
          LiveInsight.track('huge', huge);
          LiveInsight.track('');
          LiveInsight.track('half', {name: 'a\\ud83db'});
        }"""
    )
    [event] = collector.wait_for("half")
    assert event["props"] == {"name": "a\ufffdb"}
    assert "title" not in event
    assert collector.types_after(page) == ["page_view", "half"]


def test_events_of_one_moment_share_a_request(visitor: Visitor, collector: Collector) -> None:
    """Events made together travel together."""
    page = visitor.open(collector.page("/"))
    collector.wait_for("page_view")
    page.evaluate("for (let n = 0; n < 5; n++) LiveInsight.track('tick')")
    collector.wait_for("tick", 5)
    assert [len(request.events) for request in collector.requests] == [1, 5]
