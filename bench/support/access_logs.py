"""Access logs of a site that is not there: visits of a few views some seconds apart, pages by Zipf's law.

In: a `LogProfile`. Out: lines in the combined format, by time. The same seed gives the same lines.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

SITE_URL = "https://www.example.com"
DAY_SECONDS = 86_400
DAY = re.compile(r"\[\d\d/\w{3}/\d{4}:")
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile "
    "Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Safari/605.1.15",
)
REFERRERS = ("-", "-", "-", "https://www.google.com/", "https://www.google.com/", "https://news.ycombinator.com/")
NETWORKS = (24, 62, 81, 90, 133, 177, 189, 203)
"""First numbers of addresses, so that visitors are from several countries."""


@dataclass(frozen=True)
class LogProfile:
    """What the log is like."""

    views: int
    days: int
    ends_at: int
    """Epoch ms; the days are the 24 hours before, and those before them."""
    longest_visit: int = 5
    """Views; every number up to it is as frequent."""
    pages: int = 500
    seed: int = 1

    @property
    def visitors(self) -> int:
        """Whom visits are drawn from."""
        return max(10, self.views // 8)


class View(NamedTuple):
    """One page view; `at` is in epoch seconds."""

    at: float
    visit: int
    address: str
    agent: str
    path: str
    referrer: str

    @property
    def line(self) -> str:
        """As a web server logs it."""
        moment = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(self.at))
        request = f'"GET {self.path} HTTP/1.1" 200 5000 "{self.referrer}" "{self.agent}"'
        return f"{self.address} - - [{moment} +0000] {request}\n"


def page_views(profile: LogProfile) -> Iterator[View]:
    """The page views by time."""
    rng = random.Random(profile.seed)
    visits = count()
    for day in range(profile.days):
        begins = profile.ends_at / 1000 - (profile.days - day) * DAY_SECONDS
        views = profile.views * (day + 1) // profile.days - profile.views * day // profile.days
        made: list[View] = []
        while len(made) < views:
            made += _visit(rng, profile, begins, next(visits))
        yield from sorted(made[:views])


def _visit(rng: random.Random, profile: LogProfile, begins: float, visit: int) -> Iterator[View]:
    number, agent = divmod(rng.randrange(profile.visitors), len(AGENTS))
    host, network = divmod(number, len(NETWORKS))
    address = f"{NETWORKS[network]}.{host >> 16}.{host >> 8 & 255}.{host & 255}"
    referrer = rng.choice(REFERRERS)
    at = begins + rng.uniform(0, DAY_SECONDS - 60 * profile.longest_visit)
    for _ in range(rng.randint(1, profile.longest_visit)):
        page = int(rng.paretovariate(0.8)) % profile.pages
        yield View(at, visit, address, AGENTS[agent], f"/page/{page}", referrer)
        at += rng.uniform(5, 60)
        referrer = "-"


def write_log(path: Path, profile: LogProfile) -> None:
    """Write the lines to a file."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(view.line for view in page_views(profile))


def write_repeated(log: Path, times: int, path: Path) -> None:
    """The lines of `log` several times over, each time as the days after those before."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    days = sorted({match[0] for line in lines if (match := DAY.search(line))}, key=_day)
    length = (_day(days[-1]) - _day(days[0])).days + 1
    with path.open("w", encoding="utf-8") as file:
        for turn in range(times):
            moved = {day: f"[{_day(day) + timedelta(days=turn * length):%d/%b/%Y}:" for day in days}
            for line in lines:
                # Other people each time: a visitor is an address and a browser.
                later = DAY.sub(lambda match: moved[match[0]], line, count=1)  # noqa: B023
                file.write(re.sub(r'"$', f' r{turn}"', later))


def _day(text: str) -> datetime:
    return datetime.strptime(text + "+0000", "[%d/%b/%Y:%z")
