"""Demo visitors: synthetic visits that read a few pages, click, sometimes buy, and leave.

In: the URLs of ingest and of the demo site. Out: requests to ingest like those of the tracker.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

from liveinsight.model.clock import Clock

logger = logging.getLogger(__name__)

PAGES = (("/", 6), ("/menu.html", 5), ("/story.html", 3), ("/journal.html", 3), ("/order.html", 1))
REFERRERS = (
    ("", 6), ("https://www.google.com/", 5), ("https://duckduckgo.com/", 2), ("https://news.ycombinator.com/", 2),
    ("https://www.reddit.com/", 1), ("https://chatgpt.com/", 1), ("https://mastodon.social/", 1),
)  # fmt: skip
QUERIES = (("", 9), ("?utm_source=newsletter&utm_medium=email&utm_campaign=autumn", 1), ("?gclid=demo", 1))
AGENTS = (
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", 5),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1", 4),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15", 2),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", 2),
    ("Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36", 3),
)  # fmt: skip
LANGUAGES = (("en-US", 5), ("de-DE", 3), ("fr-FR", 1), ("es-ES", 1), ("pt-BR", 1))

Payload = dict[str, Any]


def _pick(rng: random.Random, choices: tuple[tuple[str, int], ...]) -> str:
    return rng.choices([value for value, _ in choices], [weight for _, weight in choices])[0]


def visit(rng: random.Random, site_url: str, clock: Clock) -> Iterator[tuple[Payload, float]]:
    """One visit: payloads, each with the seconds to stay before the next."""
    agent = _pick(rng, AGENTS)
    user_id = str(uuid.UUID(int=rng.getrandbits(128)))
    common: Payload = {
        "user_id": user_id,
        "session_id": f"{user_id}.{rng.getrandbits(48):012x}",
        "user_agent": agent,
        "language": _pick(rng, LANGUAGES),
        "screen_width": 390 if "Mobile" in agent else 1440,
    }

    def payload(event_type: str, page: str, **fields: Any) -> Payload:
        now = clock()
        body: Payload = {"event_type": event_type, "page_url": site_url + page, "timestamp": now, "sent_at": now}
        return {**common, "id": str(uuid.UUID(int=rng.getrandbits(128))), **body, **fields}

    referrer, page = _pick(rng, REFERRERS), _pick(rng, PAGES)
    query = _pick(rng, QUERIES) if not referrer else ""
    for step in range(rng.choices((1, 2, 3, 5), (4, 3, 2, 1))[0]):
        stay = rng.uniform(3, 25)
        yield payload("page_view", page + (query if step == 0 else ""), referrer=referrer, title="Demo"), stay
        if rng.random() < 0.4:
            yield payload("click", page, element_tag="a", element_text="See the menu", element_class="button"), 2.0
        if page == "/order.html" and rng.random() < 0.6:
            amount = rng.randrange(900, 6000) / 100
            revenue = {"amount": amount, "currency": "EUR"}
            yield payload("conversion", page, conversion_type="order", revenue=revenue), 2.0
        percent = rng.randrange(20, 101)
        yield payload("page_exit", page, engaged_ms=int(stay * 800), scroll_percent=percent), 0.3
        referrer, page = site_url + page, _pick(rng, PAGES)


class DemoVisitors:
    """Visits that begin every few seconds until `stop`. A failed request is logged, and the visit continues."""

    def __init__(self, ingest_url: str, site_url: str, clock: Clock, *, every_seconds: float = 2.5) -> None:
        self._collect_url = f"{ingest_url}/collect"
        self._site_url = site_url
        self._clock = clock
        self._every = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-visitors", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all visits where they are."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        rng = random.Random()
        under_way: list[tuple[float, Iterator[tuple[Payload, float]]]] = []
        next_arrival = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= next_arrival:
                under_way.append((now, visit(rng, self._site_url, self._clock)))
                next_arrival = now + rng.expovariate(1 / self._every)
            due = [entry for entry in under_way if entry[0] <= now]
            under_way = [entry for entry in under_way if entry[0] > now]
            for _, steps in due:
                step = next(steps, None)
                if step is not None:
                    self._post(step[0])
                    under_way.append((now + step[1], steps))
            self._stopping.wait(0.1)

    def _post(self, payload: Payload) -> None:
        request = urllib.request.Request(
            self._collect_url,
            data=json.dumps(payload).encode(),
            headers={"Content-Type": "text/plain", "User-Agent": payload["user_agent"]},
        )
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except (urllib.error.URLError, OSError) as error:
            logger.warning(
                "an event of a demo visitor was not accepted", extra={"action": "demo", "problem": str(error)}
            )
