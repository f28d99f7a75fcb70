"""Abuse of the endpoints: forged headers, endless new values, scripts. Memory and storage stay bounded, text is inert.

``ABUSE_EVENTS=1000000`` tries a million pages and a million sites.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from api.app import create_app as create_api
from ingest.pipeline.cardinality import ValueGuard
from liveinsight.counting.rollups import OTHER
from liveinsight.model.events import LEDGER, Event, decode_record
from liveinsight.settings import Settings
from liveinsight.storage.stream import OutRecord, PutOutcome, StartAt
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.memory_stream import MemoryStream
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.ingest.conftest import Payload, Service

EVENTS = int(os.environ.get("ABUSE_EVENTS", "50000"))
MEGABYTE = 1_000_000
FORGED = {
    "X-Forwarded-For": "203.0.113.50",
    "Forwarded": "for=203.0.113.50",
    "X-Real-IP": "203.0.113.50",
    "X-Client-IP": "203.0.113.50",
    "True-Client-IP": "203.0.113.50",
    "CF-Connecting-IP": "203.0.113.50",
    "Client-IP": "203.0.113.50",
    "Via": "1.1 proxy",
    "CF-IPCountry": "KP",
    "CloudFront-Viewer-Country": "KP",
}
SCRIPT = "\"><script>alert('x')</script><img src=x onerror=alert(1)>{{7*7}}${jndi:ldap://x}"


def held() -> int:
    """Bytes that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Counting(MemoryStream):
    """Takes everything, and keeps of it only which pages there were."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.pages: set[str] = set()
        self.taken = 0
        self.events: list[Event] = []

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        for record in records:
            for event in decode_record(record.data):
                if event.type == LEDGER:
                    self.events.append(event)
                else:
                    self.taken += 1
                    self.pages.add(event.page)
        return [PutOutcome("shardId-000000000000", str(self.taken + 1), "") for _ in records]


def test_forged_headers_change_nothing(service: Service, view: Callable[..., Payload]) -> None:
    """Without a trusted proxy nobody can be somebody else, or from elsewhere, by writing a header."""
    anonymous = view(user_id=None, session_id=None, timestamp=None)
    honest = service.only_event(anonymous)
    for name, value in FORGED.items():
        forged = service.only_event(anonymous, headers={name: value})
        assert (forged.visitor, forged.country) == (honest.visitor, honest.country), name


def test_behind_a_proxy_only_its_own_entry_counts(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """What a client writes into X-Forwarded-For stands before what the proxy adds, and is not looked at."""
    service = make_service(trusted_proxies="1")
    anonymous = view(user_id=None, session_id=None, timestamp=None)
    seen = {
        service.only_event(anonymous, address="10.0.0.1", headers={"X-Forwarded-For": f"{forged}198.51.100.7"}).visitor
        for forged in ("", "203.0.113.50, ", "203.0.113.50,203.0.113.51, ", "garbage, ", ", ,")
    }
    assert len(seen) == 1


def test_forged_headers_do_not_bypass_a_rate_limit(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """The limit is by the connection's address."""
    service = make_service(site={"address_rate": 5})
    statuses = [
        service.post(view(id=str(number)), headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
        for number in range(20)
    ]
    assert statuses.count(429) >= 10


def test_new_pages_without_end_are_bounded(
    make_service: Callable[..., Service], view: Callable[..., Payload], clock: FakeClock
) -> None:
    """Values per site and day end at the cap, in what is stored and in memory."""
    stream = Counting(clock)
    service = make_service(stream=stream, site={"max_values": 1000})
    body = view(user_id=None)
    template = json.dumps({**body, "page_url": "https://shop.example/PAGE"})
    service.post(("[" + template + "]").encode())
    before = 0
    for first in range(0, EVENTS, 100):
        events = ",".join(
            template.replace("PAGE", f"{number}/x{number * 7919}") for number in range(first, first + 100)
        )
        assert service.post(f"[{events}]".encode()).status_code == 202
        if first == 10_000:
            before = held()
    assert stream.taken == EVENTS + 1
    assert len(stream.pages) == 1001
    assert OTHER in stream.pages
    assert held() - before < 30 * MEGABYTE


def test_endless_days_are_bounded_in_the_guards_memory() -> None:
    """Each day's cap may not be reached, and days may come without end: the oldest are forgotten."""
    guard = ValueGuard(remembered=20_000)
    for number in range(100_000):
        guard.admit(an_event(page=f"/{number}", day=20260101 + number // 1000), 2000)
    assert guard.remembered_values <= 22_000


def test_endless_sites_are_bounded(
    make_service: Callable[..., Service], view: Callable[..., Payload], clock: FakeClock
) -> None:
    """Sites that do not exist are refused; what is counted of that is one row, and nothing is remembered of them."""
    stream = Counting(clock)
    service = make_service(stream=stream)
    template = json.dumps(view(site="SITE"))
    before = 0
    for first in range(0, EVENTS, 100):
        events = ",".join(template.replace("SITE", f"site-{number}") for number in range(first, first + 100))
        assert service.post(f"[{events}]".encode()).status_code == 404
        if first == 10_000:
            before = held()
    service.ledger.send()
    (event,) = stream.events
    assert (event.site, event.props) == ("default", {"unknown_site": EVENTS})
    assert held() - before < 30 * MEGABYTE
    assert stream.taken == 0


def test_endless_keys_headers_and_origins_leave_nothing(
    make_service: Callable[..., Service], view: Callable[..., Payload], clock: FakeClock
) -> None:
    """Caches by what clients send are bounded: user agents, origins, languages, content types, keys, ids, addresses."""
    service = make_service(stream=Counting(clock))
    body = json.dumps(view()).encode()
    before = 0
    for number in range(EVENTS // 10):
        service.post(
            body,
            address=f"2001:db8::{number:x}",
            headers={
                "User-Agent": f"Mozilla/5.0 agent{number} " + "x" * 300,
                "Origin": f"https://{number}.example",
                "Accept-Language": f"x{number}",
                "X-Request-Id": f"request-{number}",
                "Content-Type": f"text/plain; x={number}",
            },
        )
        service.post(body, path="/v1/events", headers={"Authorization": f"Bearer key{number}"})
        if number == 2_000:
            before = held()
    assert held() - before < 40 * MEGABYTE


@pytest.fixture
def stored(make_service: Callable[..., Service], view: Callable[..., Payload], clock: FakeClock) -> Service:
    """A script in every field, counted by the worker's real code."""
    service = make_service()
    service.give_keys(default="key")
    for field in ("title", "event_type", "user_id", "session_id", "id", "element_text", "element_id", "element_class",
                  "element_tag", "conversion_type", "user_agent", "language"):  # fmt: skip
        assert service.post(view(**{"event_type": "conversion", field: SCRIPT[:50]})).status_code == 202
    service.post(view(), headers={"User-Agent": SCRIPT})
    service.post(view(page_url=f"https://shop.example/{SCRIPT}", referrer=f"https://x.example/{SCRIPT}"))
    service.post(view(page_url=f"https://shop.example/?utm_source={SCRIPT}&utm_campaign={SCRIPT}"))
    service.post(view(props={SCRIPT: SCRIPT}), headers={"Accept-Language": SCRIPT, "Referer": SCRIPT})
    service.client.get("/collect.gif", query_string={"url": f"/{SCRIPT}", "event_type": SCRIPT[:50], "site": "default"})
    service.post(
        view(visitor_id=SCRIPT, client_address=SCRIPT[:60]), path="/v1/events", headers={"Authorization": "Bearer key"}
    )
    service.ledger.send()
    processor = RecordProcessor(service.store, service.stream.incarnation(), ProcessorOptions(), clock)
    processor.initialize("shardId-000000000000", "")
    iterator = service.stream.iterator("shardId-000000000000", after=None, start=StartAt.TRIM_HORIZON)

    class Nowhere:
        def checkpoint(self, sequence_number: str) -> None:
            """Nothing is read again."""

    processor.process_records(service.stream.read(iterator, 1000).records, Nowhere(), 0)
    processor.shutdown_requested(Nowhere())
    return service


def test_scripts_are_stored_as_text_and_told_as_json(stored: Service, clock: FakeClock) -> None:
    """Whoever asks for it gets JSON that no browser takes for a page; nothing was evaluated on the way."""
    api = create_api(Settings.from_env({}), stored.store, clock).test_client()
    paths = ["sessions", "totals", "live?by=page"]
    paths += [f"breakdown?dimension={name}" for name in ("page", "source", "event", "conversion", "campaign")]
    told = ""
    for path in paths:
        answer = api.get(f"/v1/sites/default/{path}")
        if answer.status_code != 400:
            assert answer.status_code == 200, answer.text
            assert answer.mimetype == "application/json"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            told += answer.text
    assert "<script>alert(" in told


def test_answers_to_scripts_are_json_that_is_not_a_page(service: Service, view: Callable[..., Payload]) -> None:
    """Ids are given back as they came: as JSON, with no sniffing and nothing to run."""
    answer = service.post(view(id=SCRIPT[:120]))
    assert answer.json["ids"] == [SCRIPT[:120]]
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for path in (f"/{SCRIPT}", f"/v1/events/{SCRIPT}/trace"):
        refused = service.client.get(path)
        assert refused.mimetype == "application/json"
        assert "<script>" not in refused.text


@pytest.mark.parametrize(
    "scheme", ["javascript:alert(1)", "data:text/html,<script>1</script>", "vbscript:x", "file:///"]
)
def test_urls_that_run_are_no_pages(service: Service, view: Callable[..., Payload], scheme: str) -> None:
    """A link on the dashboard never runs: such pages are refused, such referrers are as none."""
    assert service.post(view(page_url=scheme)).json["error"]["reason"] == "invalid_url"
    assert service.only_event(view(referrer=scheme)).referrer == ""
