"""Bots get 202 and are not counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest.enrichment.user_agents import classify
from liveinsight.sites.site import Bots
from tests.ingest.conftest import Payload, Service

HEADLESS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize("user_agent", [HEADLESS, GOOGLEBOT])
def test_bots_get_202_and_are_dropped(service: Service, view: Callable[..., Payload], user_agent: str) -> None:
    """The answer says so by index, and nothing reaches the stream."""
    answer = service.post([view(id="1"), view(id="2")], headers={"User-Agent": user_agent})
    assert answer.status_code == 202
    assert answer.json == {
        "accepted": 0,
        "ids": [],
        "dropped": [{"index": 0, "reason": "bot"}, {"index": 1, "reason": "bot"}],
    }
    assert service.events() == []


def test_a_bots_bad_event_is_refused_beside_its_dropped_one(service: Service, view: Callable[..., Payload]) -> None:
    """Nothing was accepted, but not all was refused either: 207."""
    answer = service.post([view(), view(event_type=None)], headers={"User-Agent": GOOGLEBOT})
    assert answer.status_code == 207
    assert (answer.json["accepted"], answer.json["refused"]) == (0, 1)
    assert answer.json["dropped"] == [{"index": 0, "reason": "bot"}]
    assert [one["reason"] for one in answer.json["events"]] == ["bot", "missing_field"]


def test_bots_are_counted_where_that_is_asked_for(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """Browser tests run headless and must be seen."""
    event = make_service(site={"bots": Bots.COUNT}).only_event(view(), headers={"User-Agent": HEADLESS})
    assert event.device == "Bot"


def test_an_http_library_without_a_visitors_user_agent_is_a_bot(service: Service, view: Callable[..., Payload]) -> None:
    """A script is no visitor; one that relays a visitor's user agent is."""
    curl = {"User-Agent": "curl/8.10.1"}
    assert service.post(view(user_agent=None), headers=curl).json["dropped"] == [{"index": 0, "reason": "bot"}]
    assert service.post(view(user_agent=GOOGLEBOT), headers=curl).json["dropped"] == [{"index": 0, "reason": "bot"}]
    assert service.post(view(), headers=curl).json["accepted"] == 1


def test_a_crawler_cannot_hide_behind_the_payload(service: Service, view: Callable[..., Payload]) -> None:
    """The header of a crawler wins over a payload that claims a browser."""
    answer = service.post(view(user_agent=IPHONE), headers={"User-Agent": GOOGLEBOT})
    assert answer.json["dropped"] == [{"index": 0, "reason": "bot"}]


@pytest.mark.parametrize(("header", "given"), [("", IPHONE), (IPHONE, None), (IPHONE, HEADLESS)])
def test_the_visitor_s_browser_is_found(
    service: Service, view: Callable[..., Payload], header: str, given: str | None
) -> None:
    """The header names it, or the payload where there is no header."""
    service.post(view(user_agent=given), headers={"User-Agent": header})
    assert [event.browser for event in service.events()] == ["Safari"]


WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"


@pytest.mark.parametrize(
    ("user_agent", "families"),
    [
        (IPHONE, ("Safari", "iOS", "Mobile")),
        (f"Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) {SAFARI}", ("Safari", "iOS", "Tablet")),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            ("Edge", "Windows", "Desktop"),
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
            ("Firefox", "macOS", "Desktop"),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/140.0.0.0 Mobile Safari/537.36",
            ("Chrome", "Android", "Mobile"),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Chrome/140.0.0.0 Safari/537.36",
            ("Chrome", "Android", "Tablet"),
        ),
        (
            f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {WEBKIT} Version/6.0 TV Safari/538.1",
            ("Safari", "Tizen", "TV"),
        ),
        (
            f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/140.0.0.0 Safari/537.36",
            ("Chrome", "Chrome OS", "Desktop"),
        ),
        ("SomethingNew/1.0 (Haiku)", ("", "", "Other")),
    ],
)
def test_user_agents_give_browser_system_and_device(user_agent: str, families: tuple[str, str, str]) -> None:
    """Families only: no versions, and one name per browser on phones and desktops."""
    agent = classify(user_agent)
    assert ((agent.browser, agent.os, agent.device), agent.bot) == (families, False)
