"""User agents: browser, operating system, device class, and whether it is a bot.

In: the text of the header. Out: an `Agent`. Parsing takes hundreds of microseconds and user agents repeat, so results
are cached by the whole text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import crawleruseragents
import ua_parser

from ingest.enrichment.bot_signs import AUTOMATION, CONTACT, HEADLESS, HTTP_LIBRARY, NO_BROWSER, NOT_BOTS

CACHED_AGENTS = 8192
"""About 20 MB at most, also with the longest user agents."""


class Agent(NamedTuple):
    """Empty strings stand for unknown."""

    browser: str
    os: str
    device: str
    bot: bool


NO_USER_AGENT = Agent("", "", "", bot=True)
"""No user agent: every browser sends one."""

_BROWSER_NAMES = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "Chrome WebView",
    "Edge Mobile": "Edge",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Safari WebView",
    "Opera Mobile": "Opera",
}
"""One name per browser: the device class already tells phones apart."""

_OS_NAMES = {"Mac OS X": "macOS"}

_DEVICES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("TV", r"(?i)smart-?tv|apple ?tv|google ?tv|android tv|hbbtv|bravia|crkey|roku|web0s|\bAFT[A-Z]|\bTV\b"),
        ("Console", r"PlayStation|Xbox|Nintendo"),
        ("Tablet", r"iPad|Tablet|PlayBook|Kindle|Silk/(?!.*Mobile)|Android(?!.*Mobi)"),
        ("Mobile", r"Mobi|iPhone|iPod|Android|Opera Mini|Windows Phone|KAIOS"),
        ("Desktop", r"Windows NT|Macintosh|X11|CrOS|Linux"),
    )
)
"""The first pattern that matches gives the class."""


@lru_cache(maxsize=1024)
def relays(user_agent: str) -> bool:
    """Whether the sender is a server that relays other clients' events: its header names an HTTP library or a proxy.

    Then the payload's user agent is the visitor's. Otherwise the header wins, as a page cannot forge it.
    """
    return not user_agent or HTTP_LIBRARY.match(user_agent.lower()) is not None


@lru_cache(maxsize=CACHED_AGENTS)
def classify(user_agent: str) -> Agent:
    """Browser, system, device and bot verdict."""
    if not user_agent:
        return NO_USER_AGENT
    browser = ua_parser.parse_user_agent(user_agent)
    system = ua_parser.parse_os(user_agent)
    bot = is_bot(user_agent)
    return Agent(
        _BROWSER_NAMES.get(browser.family, browser.family) if browser else "",
        _OS_NAMES.get(system.family, system.family) if system else "",
        "Bot" if bot else _device(user_agent),
        bot,
    )


def is_bot(user_agent: str) -> bool:
    """Whether it is a bot: by the list of known crawlers, or by a sign of `ingest.enrichment.bot_signs`."""
    kept = NOT_BOTS.sub("", user_agent)
    lower = kept.lower()
    return (
        HTTP_LIBRARY.match(lower) is not None
        or NO_BROWSER.match(lower) is not None
        or CONTACT.search(lower) is not None
        or HEADLESS.search(lower) is not None
        or AUTOMATION.search(lower) is not None
        or crawleruseragents.is_crawler(kept)
    )


def _device(user_agent: str) -> str:
    return next((name for name, pattern in _DEVICES if pattern.search(user_agent)), "Other")
