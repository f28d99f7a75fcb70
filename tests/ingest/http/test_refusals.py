"""Each refusal has a reason and a status, and names no more than a field."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from ingest.contract import limits
from liveinsight.testing.builders import NOON
from tests.ingest.conftest import Payload, Service

DAY = 86_400_000


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"event_type": None}, (400, "missing_field", "event_type")),
        ({"event_type": "\x00 "}, (400, "missing_field", "event_type")),
        ({"event_type": "x" * 51}, (400, "too_long", "event_type")),
        ({"event_type": 7}, (400, "wrong_type", "event_type")),
        ({"page_url": None}, (400, "missing_field", "page_url")),
        ({"page_url": ""}, (400, "missing_field", "page_url")),
        ({"page_url": "https://x.example/" + "a" * 2000}, (400, "too_long", "page_url")),
        ({"page_url": "javascript:alert(1)"}, (400, "invalid_url", "page_url")),
        ({"page_url": "http://[::1"}, (400, "invalid_url", "page_url")),
        ({"page_url": "https://a<b>/"}, (400, "invalid_url", "page_url")),
        ({"page_url": "https://x.example:port/"}, (400, "invalid_url", "page_url")),
        ({"page_url": "file:///home/me"}, (400, "invalid_url", "page_url")),
        ({"referrer": "https://x.example/" + "a" * 2000}, (400, "too_long", "referrer")),
        ({"id": "x" * 129}, (400, "too_long", "id")),
        ({"user_id": "x" * 129}, (400, "too_long", "user_id")),
        ({"user_id": 5}, (400, "wrong_type", "user_id")),
        ({"session_id": ["s"]}, (400, "wrong_type", "session_id")),
        ({"site": "nowhere"}, (404, "unknown_site", "site")),
        ({"timestamp": NOON - DAY - 1}, (400, "too_old", "timestamp")),
        ({"timestamp": NOON + 600_001}, (400, "future_timestamp", "timestamp")),
        ({"timestamp": "yesterday"}, (400, "invalid_timestamp", "timestamp")),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, (400, "invalid_timestamp", "timestamp")),
        ({"timestamp": -1}, (400, "invalid_timestamp", "timestamp")),
        ({"timestamp": 10**30}, (400, "invalid_timestamp", "timestamp")),
        ({"timestamp": True}, (400, "wrong_type", "timestamp")),
        ({"sent_at": "?"}, (400, "invalid_timestamp", "sent_at")),
        ({"sent_at": NOON + DAY + 1}, (400, "too_old", "timestamp")),
        ({"props": {str(n): n for n in range(31)}}, (400, "too_many_props", "props")),
        ({"props": {"x" * 301: 1}}, (400, "too_long", "props")),
        ({"props": {"x": "y" * 2001}}, (400, "too_long", "props")),
        ({"props": {"x": {"nested": 1}}}, (400, "wrong_type", "props")),
        ({"props": {"x": [1]}}, (400, "wrong_type", "props")),
        ({"props": {"x": 10**400}}, (400, "out_of_range", "props")),
        ({"props": {str(n): chr(0x10FFFF - 2) * 1999 for n in range(30)}}, (400, "too_long", "props")),
        ({"props": {str(n): "\N{GRINNING FACE}" * 2000 for n in range(30)}}, (400, "too_long", "props")),
        ({"revenue": {"amount": 1}}, (400, "missing_field", "revenue.currency")),
        ({"revenue": {"currency": "EUR"}}, (400, "missing_field", "revenue.amount")),
        ({"revenue": {"amount": 1, "currency": "ZZZ"}}, (400, "unknown_currency", "revenue.currency")),
        ({"revenue": {"amount": -1, "currency": "EUR"}}, (400, "invalid_revenue", "revenue.amount")),
        ({"revenue": {"amount": [], "currency": "EUR"}}, (400, "wrong_type", "revenue.amount")),
        ({"conversion_type": "x" * 101}, (400, "too_long", "conversion_type")),
        ({"engaged_ms": "many"}, (400, "wrong_type", "engaged_ms")),
    ],
)
def test_a_bad_event_is_refused_with_its_reason(
    service: Service, view: Callable[..., Payload], changes: dict[str, Any], refusal: tuple[int, str, str]
) -> None:
    """Status, reason and field are machine-readable, and nothing reaches the stream."""
    status, reason, field = refusal
    body = json.dumps(view(**changes), ensure_ascii=False).encode()
    answer = service.post(body)
    assert (answer.status_code, answer.json["error"]["reason"]) == (status, reason)
    assert answer.json["error"]["events"] == [
        {
            "index": 0,
            "status": status,
            "reason": reason,
            "field": field,
            "message": answer.json["error"]["message"],
        }
    ]
    assert service.events() == []


def test_number_beyond_all_floats_spoils_only_its_own_event(service: Service, view: Callable[..., Payload]) -> None:
    """1e999 cannot be decoded, but its neighbour can."""
    bad = json.dumps(view(props={"x": 1})).replace('"x": 1', '"x": 1e999')
    answer = service.post(f"[{json.dumps(view())}, {bad}]".encode())
    assert answer.status_code == 207
    assert [one["status"] for one in answer.json["events"]] == [202, 400]
    assert (answer.json["events"][1]["reason"], answer.json["events"][1]["field"]) == ("out_of_range", "props")
    assert len(service.events()) == 1


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"a":1} x', 400, "malformed_json"),
        (b'{"timestamp": NaN}', 400, "malformed_json"),
        (b'{"unknown":"\xff"}', 400, "malformed_json"),
        (b'{"title":"\xed\xa0\x80"}', 400, "malformed_json"),
        (b'{"unknown":"\\ud800"}', 400, "malformed_json"),
        (b'"text"', 400, "wrong_type"),
        (b"5", 400, "wrong_type"),
        (b"null", 400, "wrong_type"),
        (b"[]", 400, "no_events"),
        (b'{"events":[]}', 400, "no_events"),
        (b'{"events":{}}', 400, "wrong_type"),
        (b"[5]", 400, "wrong_type"),
        (b"[" * 100_000, 400, "too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "too_deep"),
        (b'{"x":' * 40_000 + b"1" + b"}" * 40_000, 400, "too_deep"),
        (b"[" + b"{}," * 100 + b"{}]", 413, "too_many_events"),
        (b'{"events":[' + b"5," * 100 + b"5]}", 413, "too_many_events"),
        (b" " * (limits.MAX_BODY_BYTES + 1), 413, "too_large"),
    ],
)
def test_a_bad_body_is_refused_as_a_whole(service: Service, body: bytes, status: int, reason: str) -> None:
    """Broken JSON, wrong encoding, depth and size give a reason, never a crash."""
    answer = service.post(body)
    assert (answer.status_code, answer.json["error"]["reason"]) == (status, reason)


def test_a_hundred_events_are_taken(service: Service, view: Callable[..., Payload]) -> None:
    """The limit itself is allowed."""
    answer = service.post([view(id=str(number)) for number in range(limits.MAX_EVENTS)])
    assert answer.json["accepted"] == limits.MAX_EVENTS


def test_a_body_without_content_length_is_limited_too(service: Service) -> None:
    """A chunked body is cut off at the limit, whatever it claims."""
    environ = create_environ("/collect", method="POST", content_type="text/plain")
    environ |= {"wsgi.input": EndlessStream(), "wsgi.input_terminated": True}
    chunks, status, _ = run_wsgi_app(service.app, environ)
    assert status.startswith("413")
    assert json.loads(b"".join(chunks))["error"]["reason"] == "too_large"


@pytest.mark.parametrize(
    ("length", "status"), [("{right}", 202), ("000{right}", 202), ("{more}", 400), ("9" * 5000, 400), ("٣", 400)]
)
def test_the_length_of_a_body_is_believed_only_if_it_is_right(
    service: Service, view: Callable[..., Payload], length: str, status: int
) -> None:
    """A body that ends before its length was cut off on its way; a length that is no sane number is no crash."""
    body = json.dumps(view()).encode()
    environ = create_environ("/collect", method="POST", content_type="text/plain")
    environ |= {
        "wsgi.input": io.BytesIO(body),
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    }
    environ["CONTENT_LENGTH"] = length.format(right=len(body), more=len(body) + 1)
    _, answered, _ = run_wsgi_app(service.app, environ)
    assert int(answered[:3]) == status
    assert len(service.events()) == (status == 202)


class EndlessStream:
    """A request body that never ends; fails the test when far too much of it is read."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        size = 65_536 if size < 0 else size
        self.given += size
        assert self.given <= 4 * limits.MAX_BODY_BYTES
        return b" " * size


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/html", "multipart/form-data", ""])
def test_other_content_types_are_refused(service: Service, view: Callable[..., Payload], content_type: str) -> None:
    """Only JSON and text/plain are read."""
    answer = service.post(view(), headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json["error"]["reason"]) == (415, "unsupported_media_type")


def test_good_events_of_a_mixed_request_are_taken(service: Service, view: Callable[..., Payload]) -> None:
    """207 says what was taken and describes what was not, by index."""
    answer = service.post([view(id="a"), view(site="nowhere"), 5, view(id="b"), view(event_type=None)])
    assert answer.status_code == 207
    assert (answer.json["accepted"], answer.json["refused"], answer.json["ids"]) == (2, 3, ["a", "b"])
    assert [(one["index"], one["status"], one.get("id") or one["reason"]) for one in answer.json["events"]] == [
        (0, 202, "a"), (1, 404, "unknown_site"), (2, 400, "wrong_type"), (3, 202, "b"), (4, 400, "missing_field"),
    ]  # fmt: skip
    assert len(service.events()) == 2


def test_events_refused_for_several_reasons_answer_400(service: Service, view: Callable[..., Payload]) -> None:
    """With different statuses among them the common one is 400."""
    answer = service.post([view(site="nowhere"), view(event_type=None)])
    assert (answer.status_code, answer.json["error"]["reason"]) == (400, "invalid_events")
    assert len(answer.json["error"]["events"]) == 2


def test_errors_never_repeat_what_was_sent(service: Service, view: Callable[..., Payload]) -> None:
    """The secret in every field of a bad payload is in no answer."""
    secret = "s3cr3t"
    bodies = [
        view(**{field: value})
        for field in view()
        for value in (secret * 500, [secret], {secret: secret}, secret)
        if field != "user_id" or value != secret
    ]
    for body in [*bodies, view(props={secret: [secret]}), view(revenue={"amount": secret, "currency": secret})]:
        assert secret not in service.post(body).text
    assert secret not in service.post(f'{{"{secret}": {secret}'.encode()).text


def test_unknown_paths_and_wrong_methods_answer_json(service: Service) -> None:
    """404 and 405 are JSON with a reason like every other error."""
    missing = service.client.get("/nothing")
    assert (missing.status_code, missing.json["error"]["reason"]) == (404, "not_found")
    wrong = service.client.get("/collect")
    assert (wrong.status_code, wrong.json["error"]["reason"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_an_internal_error_answers_json(
    service: Service, view: Callable[..., Payload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is a 500 with a reason, so the tracker tries again."""
    monkeypatch.setattr(service.stream, "put", lambda records: 1 / 0)
    answer = service.post(view())
    assert (answer.status_code, answer.json["error"]["reason"]) == (500, "internal_error")
