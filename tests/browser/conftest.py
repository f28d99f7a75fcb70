"""A real Chromium and a small collect server for the tracker's tests.

In: the tracker's file and pages made by a test. Out: every request the browser really sent, parsed. The
pages come from ``http://localhost`` and are collected at ``http://127.0.0.1``, so that each request crosses
origins, as in production. Every test fails when a page it opened saw an uncaught error.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

TRACKER = Path(__file__).parents[2] / "tracker" / "liveinsight.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_SECONDS = 8.0

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request to the collect endpoint, with the status it was given (0: never answered)."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    at: float
    events: list[Json] = field(default_factory=list)


class Collector:
    """Serves pages and the tracker, records what is posted to /collect, and answers as told.

    Thread-safe: the server's threads record, the test's thread waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._pages: dict[str, str] = {}
        self._status = 202
        self._retry_after: int | None = None
        self._hanging = False
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.page_origin = f"http://localhost:{self.port}"
        self.collect_url = f"http://127.0.0.1:{self.port}/collect"

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # What the server is to do.

    def accept(self) -> None:
        """Answer 202 from now on."""
        self.answer(202)

    def answer(self, status: int, retry_after: int | None = None) -> None:
        with self._changed:
            self._status, self._retry_after, self._hanging = status, retry_after, False

    def hang(self) -> None:
        """Read requests, but do not answer them."""
        with self._changed:
            self._hanging = True

    def page(self, path: str, body: str = "", tag: str | None = None, title: str = "A test page") -> str:
        """Serve a page at `path`, with the tracker's tag unless `tag` says otherwise; its URL."""
        if tag is None:
            tag = self.tag('data-heartbeat="0"')
        self._pages[path] = (
            f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>{tag}</head>"
            f"<body>{body}</body></html>"
        )
        return self.page_origin + path

    def tag(self, attributes: str = "", site: str | None = "blog") -> str:
        site_attribute = "" if site is None else f'data-site="{site}"'
        origin = self.collect_url.removesuffix("/collect")
        return f'<script defer src="{origin}/tracker.js" {site_attribute} {attributes}></script>'

    # What the browser did.

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    @property
    def events(self) -> list[Json]:
        """Accepted events, in order of arrival."""
        return [event for request in self.requests if request.status == 202 for event in request.events]

    @property
    def distinct_events(self) -> list[Json]:
        """Accepted events without repetitions, in order of their first arrival.

        What was sent again is no fault: a page that goes, or a clock that leaps, ends a request whose answer
        is still on its way, and its events go with the next one.
        """
        distinct: dict[str, Json] = {}
        for event in self.events:
            distinct.setdefault(event["id"], event)
        return list(distinct.values())

    @property
    def refused(self) -> list[Json]:
        return [event for request in self.requests if request.status != 202 for event in request.events]

    def wait_until(self, met: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while not met():
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = [(r.method, r.status, [e["event_type"] for e in r.events]) for r in self._requests]
                    raise AssertionError(f"waited in vain for {what}; seen: {seen}")
                self._changed.wait(min(left, 0.2))

    def wait_for(self, event_type: str, count: int = 1) -> list[Json]:
        """The first `count` distinct accepted events of a type."""

        def found() -> list[Json]:
            return [event for event in self.distinct_events if event["event_type"] == event_type]

        self.wait_until(lambda: len(found()) >= count, f"{count} x {event_type}")
        return found()[:count]

    def wait_for_requests(self, count: int) -> list[Request]:
        self.wait_until(lambda: len(self.requests) >= count, f"{count} requests")
        return self.requests

    def types_after(self, page: Page) -> list[str]:
        """All accepted event types once everything the page did so far has arrived.

        Requests leave one after the other, so what a sentinel overtakes was never sent.
        """
        count = sum(event["event_type"] == "sentinel" for event in self.events)
        page.evaluate("LiveInsight.track('sentinel')")
        self.wait_for("sentinel", count + 1)
        return [event["event_type"] for event in self.events if event["event_type"] != "sentinel"]

    # For the handler.

    def find_page(self, path: str) -> str | None:
        return self._pages.get(path)

    def record(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, int | None]:
        """Note a request; the status to answer with and Retry-After, or 0 not to answer."""
        events = json.loads(body)["events"] if body else []
        with self._changed:
            status = 0 if self._hanging else self._status
            self._requests.append(Request(method, path, headers, body, status, time.monotonic(), events))
            self._changed.notify_all()
            retry_after = self._retry_after
        if not status:
            self._released.wait()
        return status, retry_after


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/tracker.js":
                self._send(200, TRACKER.read_bytes(), "text/javascript")
                return
            page = collector.find_page(path)
            if page is None:
                self._send(404, b"", "text/plain")
            else:
                self._send(200, page.encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, retry_after = collector.record("POST", self.path, headers, body)
            if status:
                self._send(status, b"{}", "application/json", retry_after)

        def do_OPTIONS(self) -> None:
            collector.record("OPTIONS", self.path, {}, b"")
            self._send(204, b"", "text/plain")

        def _send(self, status: int, body: bytes, content_type: str, retry_after: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Expose-Headers", "Retry-After")
            if retry_after is not None:
                self.send_header("Retry-After", str(retry_after))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output quiet."""

    return Handler


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def _unavailable(reason: str) -> None:
    """No browser: a skip on a laptop, a failure where the browser tests are required."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; nothing is ever downloaded."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for path in map(shutil.which, names) if path), None)
    if executable is None:
        _unavailable(f"no browser on the path: looked for {', '.join(names)}")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - may be missing
    except ImportError:
        _unavailable("the playwright package is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visitor:
    """One browser profile: its pages share storage, and its uncaught page errors are collected."""

    context: BrowserContext
    collector: Collector
    errors: list[str]

    def open(self, url: str, *, clock: bool = False) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        if clock:
            page.clock.install()
        page.goto(url)
        return page

    def before_each_page(self, script: str) -> None:
        self.context.add_init_script(script)


@pytest.fixture
def visitor(chromium: Browser, collector: Collector) -> Iterator[Visitor]:
    context = chromium.new_context(viewport={"width": 1000, "height": 600}, locale="en-GB")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    made = Visitor(context, collector, [])
    yield made
    context.close()
    assert made.errors == []
