"""Visitors that send page views as the tracker does, and remember which were acknowledged.

In: the port of ingest. Out: `Sent`, the account that the counters must agree with. A request without a 2xx is sent
again with the same ids until it is acknowledged; some are given up, as by a visitor that leaves.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.pipeline.identity import hashes_of_id

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
VISITORS = 5
"""Of one thread."""
PAGES = 30


class Sent:
    """What was sent. Each page view is known by the hash of its id, and its page."""

    def __init__(self) -> None:
        self.acknowledged: set[tuple[int, str]] = set()
        self.given_up: set[tuple[int, str]] = set()
        self.statuses: Counter[int] = Counter()
        """0 is a request without an answer."""
        self.without_retry_after = 0
        """Answers of 503 that do not say when to come back."""


class Visitors(threading.Thread):
    """Sends one request after the other, with one page view or some."""

    def __init__(self, number: int, port: int, seed: int, *, gives_up: float, pause: float, padding: int) -> None:
        super().__init__(name=f"visitors-{number}", daemon=True)
        self.sent = Sent()
        self._number = number
        self._port = port
        self._rng = random.Random(seed * 1_000 + number)
        self._gives_up = gives_up
        self._pause = pause
        self._padding = padding
        self._connection: http.client.HTTPConnection | None = None
        self.finishing = False
        """Send again what is not acknowledged, then end."""

    def run(self) -> None:
        count = 0
        while not self.finishing:
            views = []
            for _ in range(self._rng.choice([1, 1, 1, 3])):
                count += 1
                views.append((f"{self._number}-{count}", f"/p/{self._rng.randrange(PAGES)}"))
            self._send(views)
            time.sleep(self._pause)
        self._hang_up()

    def stop(self) -> None:
        """Give up whatever is under way."""
        self.finishing = True
        self._gives_up = 1.0

    def _send(self, views: list[tuple[str, str]]) -> None:
        """One request, until it is acknowledged or given up."""
        known = {(hashed, page) for id, page in views for hashed in hashes_of_id("default", id)}
        body = json.dumps({"events": [self._event(*view) for view in views]}).encode()
        while True:
            status = self._post(body)
            self.sent.statuses[status] += 1
            if 200 <= status < 300:
                self.sent.acknowledged |= known
                return
            assert status in {0, 503}, status
            if self._rng.random() < self._gives_up:
                self.sent.given_up |= known
                return
            time.sleep(0.05)

    def _event(self, id: str, page: str) -> dict[str, object]:
        return {
            "event_type": "page_view",
            "id": id,
            "user_id": f"visitor-{self._number}-{self._rng.randrange(VISITORS)}",
            "page_url": f"https://shop.example{page}",
            "props": {f"text{number}": self._noise() for number in range(self._padding)},
        }

    def _noise(self) -> str:
        return f"{self._rng.getrandbits(1_600):0400x}"

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            self._connection.request("POST", "/collect", body, {"Content-Type": "text/plain", "User-Agent": AGENT})
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return 0
        if answer.status == 503 and not answer.headers["Retry-After"]:
            self.sent.without_retry_after += 1
        return answer.status

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


class Load:
    """Several `Visitors` at once.

    Args:
        port: of ingest.
        seed: decides what they send.
        threads: how many.
        gives_up: the share of failed attempts after which a page view is given up.
        pause: seconds between two page views of a thread.
        padding: incompressible properties of 400 characters that each page view has.
    """

    def __init__(
        self, port: int, seed: int, *, threads: int = 8, gives_up: float = 0.0, pause: float = 0.005, padding: int = 0
    ) -> None:
        self._threads = [
            Visitors(number, port, seed, gives_up=gives_up, pause=pause, padding=padding) for number in range(threads)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """For the length of a block; then all page views are acknowledged or given up."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        except BaseException:
            for thread in self._threads:
                thread.stop()
            raise
        for thread in self._threads:
            thread.finishing = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a page view is not taken"

    @property
    def acknowledged(self) -> int:
        """Page views so far."""
        return sum(len(thread.sent.acknowledged) for thread in self._threads)

    @property
    def statuses(self) -> Counter[int]:
        """Answers so far, by status."""
        return sum((Counter(thread.sent.statuses) for thread in self._threads), Counter())

    @property
    def sent(self) -> Sent:
        """The account, when all has ended."""
        total = Sent()
        for thread in self._threads:
            total.acknowledged |= thread.sent.acknowledged
            total.given_up |= thread.sent.given_up
            total.without_retry_after += thread.sent.without_retry_after
        total.statuses = self.statuses
        return total
