"""The tracker in a real browser: an action, the requests it must cause, and those it must not."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Collector, Visitor

pytestmark = pytest.mark.browser

TRACKER_FOLDER = Path(__file__).parents[2] / "tracker"

BUTTONS = """
<button id=buy class="primary wide"><span id=inner>  Buy
   now </span></button>
<a id=link href="#further">Further down</a>
<input id=send type=submit value="Send it"><span id=fake role=button aria-label="Close"></span>
<input id=text type=text><div id=plain>Just text</div>
<div id=host></div>
"""

HIDE = """(hidden) => {
  const value = hidden ? 'hidden' : 'visible';
  Object.defineProperty(document, 'visibilityState', {value, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def stored(page: Page) -> list[str]:
    keys: list[str] = page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)].sort()")
    return keys


# ---- what is sent ------------------------------------------------------------------------------


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


# ---- leaving, engagement -----------------------------------------------------------------------


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


# ---- routes, cache, prerender ------------------------------------------------------------------


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


# ---- identity and privacy ----------------------------------------------------------------------


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


# ---- failures ----------------------------------------------------------------------------------


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


# ---- hostile and old pages ---------------------------------------------------------------------


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


# ---- starting ----------------------------------------------------------------------------------


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


# ---- the files ---------------------------------------------------------------------------------


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
