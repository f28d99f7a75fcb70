"""Whatever is sent: never 5xx, always JSON with a reason, and what is accepted is valid on the stream.

``FUZZ_CASES=10000 pytest tests/ingest/http`` tries at least that many.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.contract import limits
from liveinsight.model.events import Event, decode_record, partition_key
from tests.ingest.conftest import Payload, Service

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "1000")) // 10,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(["x" * 5000, "\x00", "\u2028", "\ud83d", "2026-01-01", "https://[", "//", "NaN", "🙂" * 300])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)
FIELDS = [
    "event_type", "id", "site", "user_id", "session_id", "timestamp", "sent_at", "page_url", "referrer", "title",
    "user_agent", "language", "screen_width", "engaged_ms", "scroll_percent", "element_tag", "element_id",
    "element_class", "element_text", "conversion_type", "revenue", "props", "events", "unknown",
]  # fmt: skip
CHANGES = st.dictionaries(
    st.sampled_from(FIELDS),
    VALUES
    | st.builds(lambda a, c: {"amount": a, "currency": c}, SCALARS, SCALARS | st.sampled_from(["EUR", "JPY", "KWD"]))
    | st.dictionaries(st.text(max_size=9), SCALARS, max_size=6)
    | st.integers(1_789_000_000_000, 1_791_000_000_000),
    max_size=5,
)


def check_event(event: Event) -> None:
    """All that the rest of the product relies on."""
    assert event.site == "default"
    assert 0 < event.visitor < 2**63
    assert 0 < event.event_id < 2**63
    assert 0 < len(event.type) <= limits.MAX_EVENT_TYPE
    assert event.received_at - limits.MAX_AGE_MS <= event.occurred_at <= event.received_at
    assert event.recent == (event.received_at - event.occurred_at <= limits.RECENT_MS)
    assert 20_000_000 < event.day < 21_000_000
    assert 0 <= event.hour < 24
    assert event.page.startswith("/") or (event.page == "" and event.type != "page_view")
    assert len(event.page) <= limits.MAX_PAGE
    assert "?" not in event.page + event.page_url + event.referrer
    assert event.channel
    assert 0 <= event.revenue < 2**63
    assert bool(event.currency) or event.revenue == 0
    assert 0 <= event.engaged_ms <= limits.MAX_ENGAGED_MS
    assert 0 <= event.scroll_percent <= 100
    assert 0 <= event.screen_width <= limits.MAX_SCREEN_WIDTH
    assert event.device in {"", "Desktop", "Mobile", "Tablet", "TV", "Console", "Bot", "Other"}
    texts = [value for value in (getattr(event, name) for name in Event.__struct_fields__) if isinstance(value, str)]
    props = event.props or {}
    texts += [*props, *(value for value in props.values() if isinstance(value, str))]
    if event.element:
        texts += [event.element.tag, event.element.id, event.element.classes, event.element.text]
    for text in texts:
        assert len(text) <= limits.MAX_URL
        assert not any(ord(character) < 32 or character in "\x7f\u2028\u2029" for character in text)


def send(service: Any, body: bytes, path: str = "/collect", **options: Any) -> None:
    """Send a body; hold answer and stream to the promises."""
    known = len(service.records())
    answer = service.post(body, path=path, **options)
    assert answer.status_code in {202, 207, 400, 404, 413}, answer.text
    assert answer.mimetype == "application/json"
    said = json.loads(answer.data)
    records = service.stream.records()[known:]
    events = []
    for record in records:
        decoded = decode_record(record.data)
        assert {partition_key(event.visitor) for event in decoded} == {record.partition_key}
        events += decoded
    assert len(events) == said.get("accepted", 0)
    for event in events:
        check_event(event)
    if answer.status_code >= 400:
        assert said["error"]["reason"]
        assert said["error"]["message"]
    for index, one in enumerate(said.get("events", [])):
        assert one["index"] == index
        assert one["id"] if one["status"] == 202 and "reason" not in one else one["reason"]


@FUZZ
@given(body=st.binary(max_size=300))
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 50_000)
@example(body=b"[" * 990 + b"]" * 990)
@example(body=b"9" * 5000)
def test_arbitrary_bytes(service: Service, body: bytes) -> None:
    """Bytes that are mostly no JSON."""
    send(service, body)


@FUZZ
@given(value=VALUES | st.lists(VALUES, max_size=5) | st.fixed_dictionaries({"events": VALUES}))
def test_arbitrary_json(service: Service, value: Any) -> None:
    """JSON of any shape, in two content types."""
    body = json.dumps(value).encode()
    send(service, body)
    send(service, body, headers={"Content-Type": "text/plain;charset=UTF-8"})


@FUZZ
@given(changes=st.lists(CHANGES, min_size=1, max_size=5), ascii_only=st.booleans())
def test_mutated_payloads(
    service: Service, view: Callable[..., Payload], changes: list[Payload], ascii_only: bool
) -> None:
    """Valid payloads with some fields replaced: the rest of the batch is judged on its own."""
    payloads = [view() | change for change in changes]
    text = json.dumps(payloads, ensure_ascii=ascii_only)
    send(service, text.encode("utf-8", "surrogatepass"))
    send(service, json.dumps(payloads[0], ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@FUZZ
@given(
    changes=st.lists(CHANGES, min_size=1, max_size=3),
    server=st.dictionaries(
        st.sampled_from(["visitor_id", "client_address", "anonymous"]),
        SCALARS | st.ip_addresses().map(str) | st.sampled_from(["::ffff:1.2.3.4", "fe80::1%eth0", "1.2.3.4 "]),
    ),
)
def test_mutated_payloads_of_servers(
    make_service: Callable[..., Service], view: Callable[..., Payload], changes: list[Payload], server: Payload
) -> None:
    """The same, with a key and the fields that only servers send; each accepted event has a receipt."""
    service = make_service()
    service.give_keys(default="key")
    payloads = [view() | change | server for change in changes]
    body = json.dumps(payloads).encode("utf-8", "surrogatepass")
    send(service, body, "/v1/events", headers={"Authorization": "Bearer key"})


@FUZZ
@given(query=st.text(max_size=60) | st.sampled_from(["url=%", "site=%ff", "url=" + "/" * 5000, "url=/&url=//["]))
def test_arbitrary_query_strings_of_images(service: Service, query: str) -> None:
    """Always the image, never 5xx."""
    answer = service.client.get("/collect.gif?" + query.encode("utf-8", "surrogatepass").decode("latin-1"))
    assert answer.status_code in {200, 400, 404}
    assert answer.data.startswith(b"GIF89a")


@FUZZ
@given(event_id=st.text(max_size=80), key=st.text(max_size=20), session_id=st.text(max_size=20))
def test_arbitrary_traces(make_service: Callable[..., Service], event_id: str, key: str, session_id: str) -> None:
    """A receipt or not: 404 at most, whatever it is."""
    service = make_service()
    service.give_keys(default="key")
    headers = {"Authorization": "Bearer key" if len(key) % 2 else "Bearer " + key.encode().decode("latin-1")}
    headers = {name: "".join(filter(str.isprintable, value)) for name, value in headers.items()}
    path = f"/v1/events/{quote(event_id, errors='replace', safe='')}/trace"
    answer = service.client.get(path, query_string={"session_id": session_id}, headers=headers)
    assert answer.status_code in {308, 401, 403, 404}
    assert answer.status_code == 308 or answer.json["error"]["reason"]


@FUZZ
@given(data=st.data())
def test_damaged_payloads(service: Service, view: Callable[..., Payload], data: st.DataObject) -> None:
    """A valid body with bytes cut out or replaced."""
    body = bytearray(json.dumps([view(id="1"), view(id="2", props={"a": 1})]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    send(service, bytes(body))


@FUZZ
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["User-Agent", "Accept-Language", "DNT", "Sec-GPC", "X-Forwarded-For", "CF-IPCountry", "Origin"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60),
    )
)
def test_arbitrary_headers(
    make_service: Callable[..., Service], view: Callable[..., Payload], headers: dict[str, str]
) -> None:
    """Headers are from outside, too."""
    service = make_service(trusted_proxies="1")
    send(service, json.dumps(view()).encode(), headers=headers)
    send(service, json.dumps(view(user_id=None)).encode(), headers=headers)


@pytest.mark.parametrize("depth", [10, 200, 900, 1000, 5000, 100_000])
def test_nesting_of_any_depth(service: Service, view: Callable[..., Payload], depth: int) -> None:
    """Ignored fields may nest a little; a depth that would exhaust the stack is refused."""
    body = json.dumps(view()).encode()[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    send(service, body)
