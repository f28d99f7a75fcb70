"""What the payloads of browsers become on the stream."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from liveinsight.model.events import Element, encode_record
from liveinsight.testing.builders import NOON
from tests.ingest.conftest import Payload, Service


def test_a_first_version_page_view_becomes_a_whole_event(service: Service, view: Callable[..., Payload]) -> None:
    """Every field of the event follows from the payload, the headers and the clock."""
    event = service.only_event(view(), headers={"Accept-Language": "de-AT,en;q=0.5"})
    assert event.visitor > 0
    assert event.event_id > 0
    assert (event.site, event.type, event.occurred_at, event.received_at) == ("default", "page_view", NOON, NOON)
    assert event.day == int(datetime.fromtimestamp(NOON / 1000, UTC).strftime("%Y%m%d"))
    assert event.hour == 12
    assert event.recent
    assert (event.user_id, event.session_id) == ("u_abc", "s_abc")
    assert (event.page, event.page_url) == ("/x", "https://shop.example/x")
    assert (event.source, event.channel, event.referrer) == ("", "Direct", "")
    assert (event.browser, event.os, event.device, event.language) == ("Chrome", "Windows", "Desktop", "de")
    assert (event.country, event.conversion_type, event.element, event.props) == ("", "", None, None)


def test_every_text_and_number_is_in_its_own_field(make_service: Callable[..., Service]) -> None:
    """All values differ, so that two fields cannot be swapped."""
    service = make_service(trusted_proxies="1", site={"session_gap": 45})
    campaign = "utm_source=s&utm_medium=m&utm_campaign=c&utm_term=t&utm_content=o"
    payload = {
        "event_type": "conversion", "id": "i", "user_id": "u", "session_id": "u.1", "timestamp": NOON - 7,
        "page_url": f"https://shop.example/p?{campaign}", "referrer": "https://www.bing.com/r", "title": "T",
        "language": "fr", "conversion_type": "v", "revenue": {"amount": 3, "currency": "EUR"}, "engaged_ms": 11,
        "scroll_percent": 12, "screen_width": 13, "element_tag": "a", "props": {"k": 14},
    }  # fmt: skip
    event = service.only_event(payload, headers={"CF-IPCountry": "AT", "CF-Region-Code": "9"})
    assert event.type == "conversion"
    assert (event.occurred_at, event.received_at, event.gap_minutes) == (NOON - 7, NOON, 45)
    assert (event.user_id, event.session_id, event.title, event.language) == ("u", "u.1", "T", "fr")
    assert (event.page, event.page_url, event.referrer) == (
        "/p", "https://shop.example/p", "https://www.bing.com/r",
    )  # fmt: skip
    assert (event.utm_source, event.utm_medium, event.utm_campaign) == ("s", "m", "c")
    assert (event.utm_term, event.utm_content, event.source) == ("t", "o", "s")
    assert (event.country, event.device, event.browser, event.os) == ("AT", "Desktop", "Chrome", "Windows")
    assert (event.conversion_type, event.revenue, event.currency) == ("v", 300, "EUR")
    assert (event.engaged_ms, event.scroll_percent, event.screen_width) == (11, 12, 13)
    assert (event.element, event.props) == (Element("a"), {"k": 14})


def test_a_first_version_click_keeps_its_element(service: Service, view: Callable[..., Payload]) -> None:
    """Clicks carry tag, id, classes and text; null is as absent."""
    click = view(
        event_type="click", element_tag="button", element_id="buy", element_class="a b", element_text="Buy\nnow"
    )
    assert service.only_event(click).element == Element("button", "buy", "a b", "Buy now")
    bare = view(event_type="click") | {"element_tag": "a", "element_id": None, "element_text": None}
    assert service.only_event(bare).element == Element("a", "", "", "")


def test_a_conversion_keeps_type_and_revenue_in_minor_units(service: Service, view: Callable[..., Payload]) -> None:
    """12.50 EUR is stored as 1250 cents."""
    payload = view(event_type="conversion", conversion_type="signup", revenue={"amount": 12.5, "currency": "EUR"})
    event = service.only_event(payload)
    assert (event.conversion_type, event.revenue, event.currency) == ("signup", 1250, "EUR")


def test_only_conversions_have_a_conversion_type(service: Service, view: Callable[..., Payload]) -> None:
    """Other events would appear in the breakdown of conversions without being one."""
    assert service.only_event(view(conversion_type="signup")).conversion_type == ""


def test_one_object_an_array_and_an_envelope_are_taken(service: Service, view: Callable[..., Payload]) -> None:
    """All three shapes of a body give the same events."""
    for body in (view(id="1"), [view(id="2"), view(id="3")], {"events": [view(id="4")]}):
        answer = service.post(body)
        assert answer.status_code == 202
    assert len(service.events()) == 4
    answer = service.post([view(id="5"), view()])
    assert answer.json == {"accepted": 2, "ids": ["5", f"{service.events()[-1].event_id:016x}"]}


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain;charset=UTF-8", "application/json; charset=utf-8"])
def test_beacon_content_types_are_taken(service: Service, view: Callable[..., Payload], content_type: str) -> None:
    """text/plain needs no preflight, and a charset parameter changes nothing."""
    service.only_event(view(), headers={"Content-Type": content_type})


def test_collect_answers_with_a_trailing_slash_too(service: Service, view: Callable[..., Payload]) -> None:
    """/collect/ is the same endpoint, without a redirect."""
    answer = service.client.post("/collect/", json=view(), headers={"User-Agent": view()["user_agent"]})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (lambda now: now - 1000, NOON - 1000),
        (lambda now: now - 999.6, NOON - 1000),
        (lambda now: "2000-01-01T00:00:00Z", None),
        (lambda now: datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), NOON),
        (lambda now: datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"), NOON),
    ],
)
def test_timestamps_may_be_numbers_or_iso_text(
    service: Service, view: Callable[..., Payload], sent: Callable[..., Any], stored: int | None
) -> None:
    """Whole and fractional milliseconds and ISO 8601 are the same time; text without an offset is UTC."""
    payload = view(timestamp=sent(NOON))
    if stored is None:
        assert service.post(payload).json["error"]["reason"] == "too_old"
    else:
        assert service.only_event(payload).occurred_at == stored


def test_long_informative_text_is_cut(service: Service, view: Callable[..., Payload]) -> None:
    """Titles and element texts are cut, not refused."""
    event = service.only_event(
        view(event_type="click", title="t" * 999, element_text="x" * 999, element_class="c" * 999)
    )
    assert event.element is not None
    assert (len(event.title), len(event.element.text), len(event.element.classes)) == (300, 100, 200)


def test_control_characters_are_stripped_everywhere(service: Service, view: Callable[..., Payload]) -> None:
    """No NUL, line separator or escape character reaches the stream, also not out of percent-encoding."""
    dirty = "a\x00b\u2028c\u2029\x1b\x7f"
    event = service.only_event(
        view(
            event_type="my" + dirty, user_id=dirty, session_id=dirty, title=dirty, element_text=dirty,
            page_url=f"https://shop.example/{dirty}?utm_source=%00new%0As", props={dirty: dirty},
        )
    )  # fmt: skip
    data = encode_record([event]).decode("latin-1") + repr(event)
    assert event.user_id == "abc"
    assert event.utm_source == "news"
    assert event.type == "myabc"
    assert event.props == {"abc": "ab c"}
    for character in ("\\x00", "\\u2028", "\\u2029", "\\x1b", "\\x7f"):
        assert character not in repr(event)
    assert "\x00b" not in data


def test_props_take_scalars_and_large_numbers(service: Service, view: Callable[..., Payload]) -> None:
    """Numbers, booleans, null and text are kept; an integer beyond 64 bits becomes a float."""
    props = {"text": "x", "n": 1, "f": 1.5, "yes": True, "none": None, "big": 10**20}
    event = service.only_event(view(props=props))
    assert event.props == {**props, "big": 1e20}
    assert isinstance(event.props["big"], float)


def test_numbers_outside_their_range_are_moved_to_its_bounds(service: Service, view: Callable[..., Payload]) -> None:
    """Negative engagement counts as none, and nobody scrolls more than a page."""
    event = service.only_event(view(engaged_ms=-5, scroll_percent=250, screen_width=1e300))
    assert (event.engaged_ms, event.scroll_percent, event.screen_width) == (0, 100, 100_000)
    event = service.only_event(view(id="2", engaged_ms=1500.7, scroll_percent=40, screen_width=390))
    assert (event.engaged_ms, event.scroll_percent, event.screen_width) == (1500, 40, 390)


def test_the_header_wins_over_the_payloads_user_agent(service: Service, view: Callable[..., Payload]) -> None:
    """A page cannot claim another browser; only an HTTP library speaks for somebody else."""
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    assert service.only_event(view(id="1", user_agent=firefox)).browser == "Chrome"
    relayed = service.only_event(view(id="2", user_agent=firefox), headers={"User-Agent": "python-requests/2.32"})
    assert (relayed.browser, relayed.os) == ("Firefox", "Linux")


def test_language_prefers_the_payload(service: Service, view: Callable[..., Payload]) -> None:
    """The primary tag of `language` counts, else that of Accept-Language, else nothing."""
    german = {"Accept-Language": "de"}
    assert service.only_event(view(id="1", language="pt-BR"), headers=german).language == "pt"
    assert service.only_event(view(id="2", language="!!"), headers=german).language == "de"
    assert service.only_event(view(id="3"), headers={"Accept-Language": "*"}).language == ""


def test_country_comes_only_through_a_trusted_proxy(
    make_service: Callable[..., Service], service: Service, view: Callable[..., Payload]
) -> None:
    """Without a proxy anybody could write the header; nonsense in it is ignored."""
    header = {"CloudFront-Viewer-Country": "AT"}
    assert service.only_event(view(), headers=header).country == ""
    behind = make_service(trusted_proxies="1")
    assert behind.only_event(view(id="1"), headers=header).country == "AT"
    assert behind.only_event(view(id="2"), headers={"CF-IPCountry": "XX"}).country == ""
    assert behind.only_event(view(id="3"), headers={"CF-IPCountry": "austria"}).country == ""


def test_day_and_hour_are_the_sites_own(make_service: Callable[..., Service], view: Callable[..., Payload]) -> None:
    """The local day and hour follow the zone of the event's site."""
    tokyo = make_service(sites="a=Asia/Tokyo b=America/Los_Angeles")
    first = tokyo.only_event(view(id="1"))
    second = tokyo.only_event(view(id="2", site="b"))
    assert (first.site, first.hour) == ("a", 21)
    assert (second.site, second.hour) in {("b", 4), ("b", 5)}
    assert first.event_id != tokyo.only_event(view(id="1", site="b")).event_id


def test_events_of_one_visitor_share_a_record_in_order(service: Service, view: Callable[..., Payload]) -> None:
    """One request of one visitor is one record, in the order sent."""
    service.post([view(id=str(number), title=str(number)) for number in range(20)])
    assert len(service.records()) == 1
    assert [event.title for event in service.events()] == [str(number) for number in range(20)]


def test_a_repeat_without_an_id_is_the_same_event(service: Service, view: Callable[..., Payload]) -> None:
    """First-version trackers repeat a request byte by byte: same id; anything different is another event."""
    first, again = service.only_event(view()), service.only_event(view())
    assert first.event_id == again.event_id
    other = service.only_event(view(timestamp=NOON - 1))
    assert other.event_id != first.event_id
    assert service.only_event(view(session_id="s_other")).event_id != first.event_id


def test_an_own_id_identifies_an_event_over_retries(service: Service, view: Callable[..., Payload]) -> None:
    """With an id the rest may change (sent_at does, on every retry)."""
    first = service.only_event(view(id="e1", sent_at=NOON))
    service.clock.advance(minutes=5)
    again = service.only_event(view(id="e1", timestamp=NOON, sent_at=NOON + 300_000))
    assert first.event_id == again.event_id
    assert first.occurred_at == again.occurred_at


def test_without_id_and_timestamp_each_arrival_counts(service: Service, view: Callable[..., Payload]) -> None:
    """Nothing says that the second is a repeat of the first."""
    first = service.only_event(view(timestamp=None))
    service.clock.advance(seconds=1)
    assert service.only_event(view(timestamp=None)).event_id != first.event_id
