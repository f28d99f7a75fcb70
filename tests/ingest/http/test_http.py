"""CORS, the tracker file and health."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from liveinsight.runtime.json_logs import JsonLines
from tests.ingest.conftest import Payload, Service

SHOP = {"Origin": "https://shop.example"}


def test_any_origin_may_send_by_default(service: Service, view: Callable[..., Payload]) -> None:
    """Answers are readable by every page, with the header that tells how long to wait."""
    answer = service.post(view(), headers=SHOP)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.example", "https://shop.example.evil"])
def test_other_origins_are_refused_in_a_way_their_page_can_read(
    make_service: Callable[..., Service], view: Callable[..., Payload], origin: str
) -> None:
    """403 with a reason; without the header the tracker would take it for an outage and try for ever."""
    service = make_service(site={"origins": ("https://shop.example",)})
    answer = service.post(view(), headers={"Origin": origin})
    assert (answer.status_code, answer.json["error"]["reason"]) == (403, "origin_not_allowed")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert service.events() == []


@pytest.mark.parametrize("path", ["/collect", "/collect/"])
def test_preflight_is_answered(service: Service, path: str) -> None:
    """204 with methods, headers and how long to remember them."""
    answer = service.client.options(path, headers={**SHOP, "Access-Control-Request-Method": "POST"})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) >= 3600


def test_no_path_is_answered_with_a_redirect(service: Service, view: Callable[..., Payload]) -> None:
    """A beacon that is redirected is lost."""
    assert service.client.post("/collect//", json=view()).status_code == 404


def test_errors_carry_cors_headers_too(service: Service, view: Callable[..., Payload]) -> None:
    """A page must be able to read the reason, and Retry-After on 503."""
    service.stream.down = True
    for answer in (service.post(b"{", headers=SHOP), service.post(view(), headers=SHOP)):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_tracker_is_served_with_type_and_cache(service: Service) -> None:
    """One hour of cache, an ETag that is honoured, and a script's content type."""
    answer = service.client.get("/tracker.js")
    assert (answer.status_code, answer.data) == (200, b"/* tracker */")
    assert answer.mimetype == "text/javascript"
    assert answer.mimetype_params == {"charset": "utf-8"}
    assert answer.cache_control.max_age == 3600
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = service.client.get("/tracker.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert service.client.head("/tracker.js").status_code == 200


def test_a_missing_tracker_file_is_404(service: Service, tmp_path: Path) -> None:
    """An installation without the browser script says so."""
    (tmp_path / "liveinsight.js").unlink()
    answer = service.client.get("/tracker.js")
    assert (answer.status_code, answer.json["error"]["reason"]) == (404, "not_found")


def everything(client: FlaskClient) -> list[TestResponse]:
    """Answers of all kinds: good, refused, unknown, preflight, files, images."""
    return [
        client.post("/collect", json={"event_type": "page_view", "page_url": "/"}),
        client.post("/collect", data=b"{", content_type="text/plain"),
        client.options("/collect", headers=SHOP),
        client.put("/collect"),
        client.get("/collect.gif"),
        client.post("/v1/events", json={}),
        client.get("/v1/events/x/trace"),
        client.get("/nothing"),
        client.get("/tracker.js"),
        client.get("/tracker.js", headers={"If-None-Match": client.get("/tracker.js").headers["ETag"]}),
        client.get("/openapi.json"),
        client.get("/healthz"),
        client.get("/readyz"),
    ]


def test_every_answer_carries_the_security_headers_and_a_request_id(service: Service) -> None:
    """Once each, whatever the answer is; ids differ."""
    answers = everything(service.client)
    assert {answer.status_code for answer in answers} >= {200, 202, 204, 304, 400, 401, 404, 405}
    for answer in answers:
        assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers.getlist("Referrer-Policy") == ["no-referrer"]
        assert answer.headers.getlist("Cross-Origin-Resource-Policy") == ["cross-origin"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert len(answer.headers.getlist("X-Request-Id")) == 1
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)


def test_an_error_names_its_request(service: Service) -> None:
    """The id in the body is the one in the header, so that a report can be found in the logs."""
    for answer in everything(service.client):
        if answer.status_code >= 400 and answer.is_json:
            assert answer.json["error"]["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("given", "taken_over"),
    [
        ("abcdef12-3456_7890", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("short", False),
        ("203.0.113.77", False),
        ("2001:db8::dead:beef", False),
        ("<script>alert(1)</script>", False),
        ("abcdefgh\tijkl", False),
        ("ünicode-id", False),
        ("", False),
    ],
)
def test_a_valid_request_id_is_kept(service: Service, given: str, taken_over: bool) -> None:
    """A proxy's own id goes through; what is too long, strange or like an address is replaced."""
    answer = service.client.get("/healthz", headers={"X-Request-Id": given.encode().decode("latin-1")})
    assert (answer.headers["X-Request-Id"] == given) is taken_over


def test_log_lines_of_a_request_carry_its_id(
    service: Service, view: Callable[..., Payload], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Internal errors, too: the log has them under the id of the answer."""
    monkeypatch.setattr(service.store, "salt_of_day", lambda *_: 1 / 0)
    answer = service.post(view(user_id=None), headers={"X-Request-Id": "find-me-again"})
    assert answer.status_code == 500
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert vars(line)["request_id"] == "find-me-again"
    text = JsonLines().format(line)
    assert '"request_id": "find-me-again"' in text
    assert "ZeroDivisionError" in text
    assert "198.51.100.1" not in text + answer.text


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity, gzip", "GZIP", "x"])
def test_compressed_bodies_are_refused(service: Service, view: Callable[..., Payload], encoding: str) -> None:
    """415 before anything is unpacked: a small body cannot become a large one here."""
    answer = service.post(view(), headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json["error"]["reason"]) == (415, "unsupported_encoding")
    assert service.post(view(), headers={"Content-Encoding": "identity"}).status_code == 202


def test_a_batch_has_a_status_and_a_receipt_for_each_event(service: Service, view: Callable[..., Payload]) -> None:
    """207: index, status, id or reason; ids that were missing are made, and are the same for an exact repeat."""
    answer = service.post([view(id="own"), view(), view(event_type=None), view()])
    assert answer.status_code == 207
    own, made, refused, again = answer.json["events"]
    assert own == {"index": 0, "status": 202, "id": "own"}
    assert made["id"] == again["id"] == f"{service.events()[1].event_id:016x}"
    assert (refused["index"], refused["status"], refused["reason"]) == (2, 400, "missing_field")
    assert service.post([view(id="own"), view()]).json == {"accepted": 2, "ids": ["own", made["id"]]}
