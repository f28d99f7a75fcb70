"""An ingest application on an in-memory stream and store, and payloads to send to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from msgspec.structs import replace
from werkzeug.test import TestResponse

from ingest.app import Backend, create_app
from ingest.delivery.group_commit import GroupCommit, Retries
from ingest.pipeline.drop_ledger import Ledger
from liveinsight.model.events import Event, decode_record
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory
from liveinsight.sites.repository import change_sites, create_missing, load_sites
from liveinsight.sites.site import ApiKey, key_digest
from liveinsight.storage.stream import Stream
from liveinsight.testing.builders import FakeClock
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)

Payload = dict[str, Any]


class FakeTime:
    """A monotonic time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def elapsed(self) -> float:
        return self.now


@dataclass
class Service:
    """One application and what it writes to."""

    app: Flask
    client: FlaskClient
    stream: MemoryStream
    store: MemoryStore
    clock: FakeClock
    time: FakeTime
    ledger: Ledger

    def edit_site(self, name: str = "default", **changes: Any) -> None:
        """Change a site as an operator does: the service sees it when its copy of the sites is old enough."""
        change_sites(self.store, lambda sites: sites.with_site(replace(sites.by_name[name], **changes)))

    def give_keys(self, **keys: str) -> None:
        """Give sites an API key each."""
        for name, key in keys.items():
            self.edit_site(name, keys=(ApiKey(id="k", name="test", digest=key_digest(key), created_at=0),))

    def post(
        self,
        body: Any,
        *,
        address: str = "198.51.100.1",
        headers: dict[str, str] | None = None,
        path: str = "/collect",
    ) -> TestResponse:
        """Send a body (JSON unless it is bytes already), to /collect unless told otherwise."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            path,
            data=data,
            headers={"Content-Type": "application/json", "User-Agent": CHROME, **(headers or {})},
            environ_base={"REMOTE_ADDR": address},
        )

    def records(self) -> list[bytes]:
        """All records on the stream, shard by shard."""
        return [record.data for record in self.stream.records()]

    def events(self) -> list[Event]:
        """All events on the stream, decoded."""
        return [event for data in self.records() for event in decode_record(data)]

    def only_event(self, body: Any, **options: Any) -> Event:
        """Send one event that must be taken, and give back what it became."""
        before = len(self.events())
        answer = self.post(body, **options)
        assert answer.status_code == 202, answer.text
        events = self.events()
        assert len(events) == before + 1
        return events[-1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_service(clock: FakeClock, tmp_path: Path) -> Callable[..., Service]:
    """Makes services; keyword arguments are settings by variable name, in lower case without the prefix.

    `site` are fields of the default site.
    """
    tracker_file = tmp_path / "liveinsight.js"
    tracker_file.write_text("/* tracker */")

    def make(
        *,
        site: dict[str, Any] | None = None,
        stream: Stream | None = None,
        store: MemoryStore | None = None,
        **settings: str,
    ) -> Service:
        memory = MemoryStream(clock)
        salts = store or MemoryStore()
        time = FakeTime()
        parsed = Settings.from_env({"LIVEINSIGHT_" + name.upper(): value for name, value in settings.items()})
        create_missing(salts, parsed.sites)
        # Background work is done at once here, so that tests see it.
        sites = SiteDirectory(lambda: load_sites(salts), clock, run=lambda work: work())
        # Nothing is sent by itself: tests say when.
        metrics = IngestMetrics()
        ledger = Ledger(sites, GroupCommit(stream or memory), clock, gather_seconds=0, metrics=metrics)
        app = create_app(
            parsed,
            Backend(stream or memory, salts, sites, lambda: salts, clock),
            ledger=ledger,
            tracker_file=tracker_file,
            metrics=metrics,
            retries=Retries(sleep=time.sleep, jitter=lambda: 1.0, elapsed=time.elapsed),
        )
        service = Service(app, app.test_client(), memory, salts, clock, time, ledger)
        if site:
            service.edit_site(next(iter(parsed.sites)), **site)
        return service

    return make


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()


@pytest.fixture
def view(clock: FakeClock) -> Callable[..., Payload]:
    """A page view exactly as the product's first tracker sends it; None removes a field."""

    def make(**changes: Any) -> Payload:
        payload = {
            "event_type": "page_view",
            "user_id": "u_abc",
            "session_id": "s_abc",
            "timestamp": clock(),
            "page_url": "https://shop.example/x?y=1",
            "referrer": "",
            "user_agent": CHROME,
            **changes,
        }
        return {name: value for name, value in payload.items() if value is not None}

    return make
