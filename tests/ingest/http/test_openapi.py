"""The OpenAPI document and ingest agree: routes, statuses, schemas, reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from ingest.contract import limits
from ingest.contract.reasons import MEANINGS, Reason
from liveinsight.model.errors import StoreUnavailable
from tests.ingest.conftest import Payload, Service

KEY = {"Authorization": "Bearer default-key"}
GOOGLEBOT = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
SHOP = {"Origin": "https://shop.example"}
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    made = make_service(sites="default=UTC shop=UTC strict=UTC slow=UTC")
    made.give_keys(default="default-key", shop="shop-key")
    made.edit_site("strict", origins=("https://good.example",))
    made.edit_site("slow", address_rate=1)
    return made


@pytest.fixture
def document(service: Service) -> Any:
    return service.client.get("/openapi.json").get_json()


@pytest.fixture
def checked(service: Service, document: dict[str, Any]) -> Callable[..., TestResponse]:
    """checked(method, path, ...): an answer that fits what the document says of its status."""

    def ask(method: str, path: str, described: str | None = None, **request: Any) -> TestResponse:
        answer = service.client.open(path, method=method, **request)
        operation = document["paths"][described or path.partition("?")[0]][method.lower()]
        said = operation["responses"].get(str(answer.status_code))
        assert said, f"{method} {path}: {answer.status_code} is not in the document: {answer.text}"
        content = said.get("content", {})
        if content:
            assert answer.mimetype in content
            schema = content[answer.mimetype].get("schema")
            if schema:
                whole = {**schema, "components": document["components"]}
                Draft202012Validator(whole).validate(answer.get_json())
        else:
            assert answer.data == b""
        assert answer.headers["X-Request-Id"]
        return answer

    return ask


def test_the_document_describes_exactly_the_routes_of_the_app(service: Service, document: dict[str, Any]) -> None:
    """Every rule with its methods; a trailing slash makes no other endpoint."""
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    routed = set()
    for rule in service.app.url_map.iter_rules():
        path = re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule).replace("{event_id}", "{id}").rstrip("/")
        # Flask answers these by itself.
        routed |= {(path, method) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert described - {("/collect", "OPTIONS")} == routed


def test_the_document_is_a_valid_openapi_document(document: dict[str, Any]) -> None:
    """References resolve, operation ids are unique, schemas are schemas."""
    operations = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(operations) == len(set(operations))
    assert document["openapi"] == "3.1.0"
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_document_has_every_reason_and_its_meaning(document: dict[str, Any]) -> None:
    """In the schema of errors, and in words."""
    assert set(MEANINGS) == set(Reason)
    assert document["components"]["schemas"]["Reason"]["enum"] == sorted(Reason)
    for reason in Reason:
        assert f"* `{reason}`: " in document["info"]["description"]


def test_the_payloads_limits_are_in_the_document(document: dict[str, Any]) -> None:
    """They come from the types that decode the payloads."""
    fields = document["components"]["schemas"]["Payload"]["properties"]
    lengths = {choice.get("maxLength") for choice in fields["page_url"]["anyOf"]}
    assert limits.MAX_URL in lengths
    assert set(document["components"]["schemas"]["ServerPayload"]["properties"]) - set(fields) == {
        "visitor_id", "client_address", "anonymous",
    }  # fmt: skip


def test_every_kind_of_answer_to_browsers_fits(
    service: Service, checked: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Accepted, dropped, partly accepted, refused in all ways, and an outage of the stream."""
    statuses = []

    def post(body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body)
        named = {"Content-Type": "text/plain", "User-Agent": CHROME, **headers}
        statuses.append(checked("POST", "/collect", data=data, headers=named).status_code)

    post(view())
    post(view(), **GOOGLEBOT)
    post([view(), view(site="nowhere"), 5])
    post([view(), view(event_type=None)], **GOOGLEBOT)
    post([view(site="nowhere"), view(event_type=None)])
    post(view(site="nowhere"))
    post(view(site="strict"), **SHOP)
    for _ in range(3):
        post(view(site="slow"))
    post(b"{")
    post(b" " * 300_000)
    post(view(), **{"Content-Type": "image/png"})
    post(view(), **{"Content-Encoding": "br"})
    service.stream.down = True
    post(view())
    assert statuses == [202, 202, 207, 207, 400, 404, 403, 202, 429, 429, 400, 413, 415, 415, 503]
    assert checked("OPTIONS", "/collect", headers=SHOP).status_code == 204


def test_every_kind_of_answer_to_servers_fits(
    service: Service, checked: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Receipts, dropped with a receipt, partly taken, refused, traces of each kind."""

    def post(body: Any, headers: dict[str, str] = KEY) -> TestResponse:
        return checked("POST", "/v1/events", data=json.dumps(body), headers={"Content-Type": "text/plain", **headers})

    def trace(receipt: str, query: str = "", headers: dict[str, str] = KEY) -> TestResponse:
        return checked("GET", f"/v1/events/{receipt}/trace{query}", "/v1/events/{id}/trace", headers=headers)

    service.edit_site("default", excluded_paths=("/private",))
    answer = post([view(), view(page_url="/private"), view(site="nowhere")])
    assert answer.status_code == 207
    for one in answer.json["events"][:2]:
        assert trace(one["receipt"]).status_code == 200
    assert post(view()).status_code == 202
    assert post(view(), {}).status_code == 401
    assert post(view(site="shop")).status_code == 403
    assert post(5).status_code == 400
    assert trace("x", "", {}).status_code == 401
    assert trace("x").status_code == 404
    assert trace("x", "?site=shop").status_code == 403
    service.stream.down = True
    assert post(view()).status_code == 503


def test_every_other_answer_fits(
    service: Service, checked: Callable[..., TestResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images, the tracker, health, and an internal error."""
    agent = {"User-Agent": CHROME}
    assert checked("GET", "/collect.gif?url=/x", headers=agent).status_code == 200
    assert checked("GET", "/collect.gif", headers=agent).status_code == 400
    assert checked("GET", "/collect.gif?site=nowhere&url=/x", headers=agent).status_code == 404
    etag = checked("GET", "/tracker.js").headers["ETag"]
    assert checked("GET", "/tracker.js", headers={"If-None-Match": etag}).status_code == 304
    assert checked("GET", "/healthz").status_code == 200
    assert checked("GET", "/readyz").status_code == 200
    assert checked("GET", "/openapi.json").status_code == 200
    monkeypatch.setattr(service.stream, "put", lambda records: 1 / 0)
    payload = {"event_type": "page_view", "page_url": "/"}
    assert checked("POST", "/collect", json=payload, headers=agent).status_code == 500


def test_the_answer_without_a_store_fits(
    service: Service, checked: Callable[..., TestResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with a reason, also for traces."""

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    receipt = service.client.post("/v1/events", json={"event_type": "x", "user_id": "u"}, headers=KEY).json["events"][0]
    monkeypatch.setattr(service.store, "load_visitors", away)
    path = f"/v1/events/{receipt['receipt']}/trace"
    answer = checked("GET", path, "/v1/events/{id}/trace", headers=KEY)
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "store_unavailable")
