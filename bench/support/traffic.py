"""Traffic of one shard: visits of six events over three minutes, pages by Zipf's law, at a steady rate.

In: a `Profile`. Out: `Poll`s, what the worker reads at one moment of event time. The same seed gives the same
traffic. One event stands in one record, as it does when browsers send (an import packs many into one).
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple
from zoneinfo import ZoneInfo

from liveinsight.model.buckets import local_day_and_hour
from liveinsight.model.events import CLICK, HEARTBEAT, PAGE_EXIT, PAGE_VIEW, Element, Event, encode_record
from liveinsight.model.ids import known_visitor
from liveinsight.storage.stream import Record
from liveinsight.testing.builders import NOON

SHARD = "shardId-000000000000"
INCARNATION = 1_700_000_000_000
POLL_MS = 250
"""Kinesis lets a shard be read five times a second; the worker reads four times."""
VISIT_MS = 180_000
VISIT = (PAGE_VIEW, CLICK, PAGE_VIEW, HEARTBEAT, PAGE_VIEW, PAGE_EXIT)
"""What a visitor does: three pages, one click, one pause, and the end."""
LINK = Element(tag="a", classes="button", text="Read more")

SOURCES = (
    ("", "Direct", 40), ("Google", "Organic Search", 35), ("Hacker News", "Organic Social", 10),
    ("Reddit", "Organic Social", 8), ("newsletter", "Email", 7),
)  # fmt: skip
AGENTS = (
    ("Chrome", "Windows", "desktop", 45), ("Safari", "iOS", "mobile", 25),
    ("Firefox", "Linux", "desktop", 10), ("Chrome", "Android", "mobile", 20),
)  # fmt: skip
COUNTRIES = (("US", 40), ("DE", 25), ("FR", 15), ("GB", 12), ("JP", 8))
LANGUAGES = {"US": "en", "DE": "de", "FR": "fr", "GB": "en", "JP": "ja"}
ZONE = ZoneInfo("UTC")


@dataclass(frozen=True)
class Profile:
    """What the traffic is like."""

    rate: float
    """Events a second."""
    pages: int = 5_000
    zipf: float = 1.1
    """Exponent of the pages' popularity: the k-th page gets 1/k^zipf of what the first gets."""
    visitors: int = 20_000
    """Whom visits are drawn from; some come back."""
    begins_at: int = NOON
    seed: int = 1


class Poll(NamedTuple):
    """What one read of the shard gives: at `at` epoch ms, the records since the read before."""

    at: int
    records: list[Record]


def traffic(profile: Profile) -> Iterator[Poll]:
    """Polls without end. Visits under way at the beginning are cut there, so the rate is steady from the start."""
    number = 0
    events = _events(profile)
    waiting = next(events)
    now = profile.begins_at
    while True:
        now += POLL_MS
        records: list[Record] = []
        while waiting.received_at < now:
            number += 1
            key = f"b{waiting.visitor % 256:03d}"
            # Real sequence numbers have 56 digits: they are in every mark, so their length is money.
            records.append(Record(f"4964{number:052d}", key, encode_record([waiting]), now))
            waiting = next(events)
        yield Poll(now, records)


def _events(profile: Profile) -> Iterator[Event]:
    """Events by time, from `begins_at` on."""
    rng = random.Random(profile.seed)
    shares = list(accumulate(1 / rank**profile.zipf for rank in range(1, profile.pages + 1)))
    pages = range(profile.pages)
    between_visits = len(VISIT) / profile.rate * 1000
    next_visit = profile.begins_at - VISIT_MS + rng.expovariate(1 / between_visits)
    due: list[tuple[float, int, Event]] = []
    while True:
        while not due or next_visit <= due[0][0]:
            chosen = rng.choices(pages, cum_weights=shares, k=3)
            for event in _visit(rng, rng.randrange(profile.visitors), next_visit, chosen):
                if event.received_at >= profile.begins_at:
                    heapq.heappush(due, (event.received_at, event.event_id, event))
            next_visit += rng.expovariate(1 / between_visits)
        yield heapq.heappop(due)[2]


def _visit(rng: random.Random, visitor: int, begins: float, chosen: list[int]) -> Iterator[Event]:
    """One visit. Who comes back uses the same browser, and may come from elsewhere."""
    own = random.Random(visitor)
    browser, system, device, _ = own.choices(AGENTS, [entry[-1] for entry in AGENTS])[0]
    country = own.choices(COUNTRIES, [entry[-1] for entry in COUNTRIES])[0][0]
    user = str(uuid.UUID(int=own.getrandbits(128)))
    identity = known_visitor("default", user)
    source, channel, _ = rng.choices(SOURCES, [entry[-1] for entry in SOURCES])[0]
    session = f"{user}.{rng.getrandbits(48):012x}"
    campaign = "autumn" if source == "newsletter" else ""
    path, title, views = "", "", iter(chosen)
    for step, kind in enumerate(VISIT):
        at = int(begins + VISIT_MS * (step + rng.random()) / len(VISIT))
        if kind == PAGE_VIEW:
            page = next(views)
            path, title = f"/section-{page % 20}/article-{page}", f"Article number {page} - Example"
        day, hour = local_day_and_hour(at, ZONE)
        yield Event(
            site="default", visitor=identity, event_id=rng.getrandbits(63), type=kind, occurred_at=at, received_at=at,
            day=day, hour=hour, recent=True, session_id=session, user_id=user, page=path,
            page_url="https://www.example.com" + path, title=title if kind == PAGE_VIEW else "",
            referrer="https://www.google.com" if source == "Google" and step == 0 else "",
            source=source, channel=channel, utm_source=campaign and source, utm_campaign=campaign,
            utm_medium=campaign and "email", country=country, device=device, browser=browser, os=system,
            language=LANGUAGES[country], screen_width=390 if device == "mobile" else 1440,
            engaged_ms=20_000 if kind == PAGE_EXIT else 0, scroll_percent=70 if kind == PAGE_EXIT else 0,
            element=LINK if kind == CLICK else None,
        )  # fmt: skip


def take(polls: Iterator[Poll], events: int) -> list[Poll]:
    """The next polls, until they hold `events` events."""
    taken: list[Poll] = []
    count = 0
    while count < events:
        taken.append(next(polls))
        count += len(taken[-1].records)
    return taken
