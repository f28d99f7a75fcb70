"""Browsers and bots, on a list of user agents that was classified by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ingest.contract.limits import MAX_USER_AGENT
from ingest.enrichment.user_agents import CACHED_AGENTS, NO_USER_AGENT, classify
from tests.ingest.conftest import Payload, Service


class Labelled(NamedTuple):
    """One line of the list."""

    verdict: str
    group: str
    text: str


LIST = [
    Labelled(*line.split("\t"))
    for line in (Path(__file__).parent / "user_agents.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
BOTS = [one for one in LIST if one.verdict == "bot"]
PEOPLE = [one for one in LIST if one.verdict == "person"]


def test_the_list_is_a_list() -> None:
    """At least 200 different user agents, a hundred of each kind, and nothing but the two verdicts."""
    assert {one.verdict for one in LIST} == {"bot", "person"}
    assert len({one.text for one in LIST}) == len(LIST) >= 200
    assert min(len(BOTS), len(PEOPLE)) >= 100


def test_bots_are_caught(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 98 of a hundred; the score is printed."""
    missed = [one for one in BOTS if not classify(one.text).bot]
    with capsys.disabled():
        print(f" {len(BOTS) - len(missed)} of {len(BOTS)} bots caught", end="")
    assert len(missed) <= len(BOTS) * 0.02, missed


def test_people_are_never_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """A person that is taken for a bot is missing from the numbers, and nobody can see it."""
    lost = [one for one in PEOPLE if classify(one.text).bot]
    with capsys.disabled():
        print(f" {len(PEOPLE) - len(lost)} of {len(PEOPLE)} people kept", end="")
    assert lost == []


CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    "text",
    [
        CHROME + " Zyxbot",
        CHROME + " (zyx-crawler)",
        CHROME + " ZyxLinkChecker/2",
        CHROME + " Zyx Uptime",
        CHROME + " (+https://zyx.example/about)",
        CHROME + " hello@zyx.example",
        CHROME.replace("Chrome/", "HeadlessChrome/"),
        CHROME.replace("Gecko)", "Gecko; compatible; Zyx)"),
        "Mozilla/5.0 (compatible; Zyx/1.0)",
        "Zyx/1.0",
        "zyx",
        "curl/99.9 (zyx)",
        "PYTHON-REQUESTS/99 (zyx)",
        "(zyx)",
    ],
)
def test_bots_that_no_list_knows_are_caught_by_their_signs(text: str) -> None:
    """Words for what they do, an address to complain at, a driven browser, a library, or nothing like a browser."""
    assert classify(text).bot


@pytest.mark.parametrize("addition", ["", " Zyx/1.0", " (zyx android@140.0.7339.207)", " Abbott/3", " ZyxBrowser/2.0"])
def test_browsers_that_no_list_knows_stay_people(addition: str) -> None:
    """A name alone is no sign."""
    assert not classify(CHROME + addition).bot


def test_people_have_a_browser_a_system_and_a_device() -> None:
    """Whoever counts has a class of device, and mostly a browser and a system."""
    agents = [classify(one.text) for one in PEOPLE]
    assert {agent.device for agent in agents} <= {"Desktop", "Mobile", "Tablet", "TV", "Console", "Other"}
    counted = Counter(bool(agent.browser) and bool(agent.os) for agent in agents)
    assert counted[True] >= 0.95 * len(agents), [
        one.text for one, agent in zip(PEOPLE, agents, strict=True) if not agent.browser or not agent.os
    ]


@pytest.mark.parametrize("text", ["", "-", "x" * MAX_USER_AGENT, "\u202e", "((((" * 100, "\ud800", "%s{}$(reboot)"])
def test_any_text_gets_a_verdict(service: Service, view: Callable[..., Payload], text: str) -> None:
    """Nothing that a client may send is an error, and nothing that is no browser has a family."""
    for given, header in ((text, ""), (None, text.encode("latin-1", "replace").decode("latin-1"))):
        # A lone surrogate is no JSON text.
        answer = service.post(view(user_agent=given), headers={"User-Agent": header})
        assert answer.status_code == (400 if given == "\ud800" else 202)
        assert {event.browser for event in service.events()} <= {""}


def test_no_user_agent_at_all_is_a_bot(service: Service, view: Callable[..., Payload]) -> None:
    """Every browser sends one. The drop is told and counted."""
    assert classify("") == NO_USER_AGENT
    answer = service.post(view(user_agent=None), headers={"User-Agent": ""})
    assert answer.json["dropped"] == [{"index": 0, "reason": "bot"}]


def test_a_proxy_that_puts_its_own_name_does_not_hide_the_visitor(
    service: Service, view: Callable[..., Payload]
) -> None:
    """CloudFront does so unless it is told to pass the header on: the payload knows better then."""
    browser = PEOPLE[0].text
    service.post(view(user_agent=browser), headers={"User-Agent": "Amazon CloudFront"})
    assert [event.browser for event in service.events()] == [classify(browser).browser]
    assert classify("Amazon CloudFront").bot


def test_the_cache_is_bounded() -> None:
    """A client that makes up user agents does not fill the memory."""
    for number in range(50):
        classify(f"Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/{number}.0")
    assert classify.cache_info().maxsize == CACHED_AGENTS
    assert classify.cache_info().currsize <= CACHED_AGENTS


def test_a_long_user_agent_is_cut(service: Service, view: Callable[..., Payload]) -> None:
    """What is stored and cached has a length."""
    text = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 "
    service.post(view(user_agent=None), headers={"User-Agent": text + "x" * MAX_USER_AGENT})
    misses = classify.cache_info().misses
    service.post(view(user_agent=None), headers={"User-Agent": text + "x" * MAX_USER_AGENT + "y"})
    assert classify.cache_info().misses == misses
