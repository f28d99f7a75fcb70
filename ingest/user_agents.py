"""What a user agent says: browser, operating system, class of device, and whether it is a bot.

Parsing costs hundreds of microseconds and user agents repeat, so answers are cached by the whole text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import crawleruseragents
import ua_parser

from ingest.limits import MAX_USER_AGENT
from ingest.text import clean


class Agent(NamedTuple):
    """Empty strings stand for unknown."""

    browser: str
    os: str
    device: str
    bot: bool


_HEADLESS = re.compile(r"headless|phantomjs|puppeteer|playwright|selenium|webdriver", re.IGNORECASE)

# Programs that speak HTTP for somebody else. Their own name says nothing about the visitor.
_HTTP_LIBRARY = re.compile(
    r"(?:aiohttp|apache-httpclient|axios|curl|dart|deno|go-http-client|guzzlehttp|insomnia|java|libwww-perl|node|okhttp"
    r"|php|postmanruntime|python|reactor-netty|ruby|undici|werkzeug|wget)\b",
    re.IGNORECASE,
)

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
"""One name per browser: the device class already says that it is a phone."""

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
"""The first pattern found names the class."""


def speaker(header: str, given: str | None) -> str:
    """The user agent that an event is about.

    The header wins over what the payload gives, as a page cannot fake it. Only where a server relays events
    through an HTTP library does the payload know better.
    """
    if given and (not header or _HTTP_LIBRARY.match(header)):
        return clean(given, MAX_USER_AGENT)
    return clean(header, MAX_USER_AGENT)


@lru_cache(maxsize=8192)
def classify(user_agent: str) -> Agent:
    """Browser, system, device and bot verdict. No user agent at all is unknown, but not proof of a bot."""
    if not user_agent:
        return Agent("", "", "", bot=False)
    bot = crawleruseragents.is_crawler(user_agent) or _HEADLESS.search(user_agent) is not None
    parsed = ua_parser.parse(user_agent)
    browser = parsed.user_agent.family if parsed.user_agent else ""
    system = parsed.os.family if parsed.os else ""
    spider = parsed.device is not None and parsed.device.family == "Spider"
    return Agent(
        _BROWSER_NAMES.get(browser, browser),
        _OS_NAMES.get(system, system),
        "Bot" if bot or spider else _device(user_agent),
        bot or spider,
    )


def _device(user_agent: str) -> str:
    return next((name for name, pattern in _DEVICES if pattern.search(user_agent)), "Other")
