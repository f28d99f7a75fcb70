"""The OpenAPI document and the application agree: routes, parameters, schemas."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from api.app import create_app
from api.http.endpoint_types import Endpoint
from api.http.endpoints import ENDPOINTS
from liveinsight.counting.rollups import BY_NAME
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.model.events import CLICK, CONVERSION, LEDGER, PAGE_EXIT, Element
from liveinsight.settings import Settings
from liveinsight.testing.builders import NOON, FakeClock, MemoryStore
from tests.api.conftest import Feed


@pytest.fixture(scope="module")
def document(settings: Settings) -> Any:
    return create_app(settings, MemoryStore(), FakeClock()).test_client().get("/v1/openapi.json").get_json()


@pytest.fixture
def lively(feed: Feed, store: MemoryStore) -> None:
    """State in which every optional field of every answer has a value somewhere."""
    common = {"session_id": "s", "user_id": "u", "title": "T", "referrer": "https://example.org/", "language": "de"}
    feed.add(
        feed.event(NOON, **common, screen_width=390, conversion_type="x", country="DE"),
        feed.event(NOON + 1, **common, type=CLICK, element=Element("a", "b", "c", "d"), props={"a": 1.5, "b": None}),
        feed.event(NOON + 2, **common, type=CONVERSION, conversion_type="sale", revenue=125, currency="KWD"),
        feed.event(NOON + 3, **common, type="engagement", engaged_ms=9, scroll_percent=3),
        feed.event(NOON + 4, visitor=3, type=PAGE_EXIT, scroll_percent=60),
        feed.event(NOON + 5, visitor=0, type=LEDGER, props={"bot": 3}),
    )
    feed.view(NOON + MINUTE_MS, visitor=2)
    feed.fresh(NOON)


def _schema(document: dict[str, Any], path: str, status: str = "200") -> Draft202012Validator:
    schema = document["paths"][path]["get"]["responses"][status]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


QUERIES = {
    "/v1/sites/{site}/totals": ["", "?period=12mo&compare=previous", "?from=2026-09-21&to=2026-09-21"],
    "/v1/sites/{site}/timeseries": ["", "?interval=15min", "?period=30d"],
    "/v1/sites/{site}/breakdown": [f"?dimension={name}&hours=true" for name in BY_NAME],
    "/v1/sites/{site}/live": ["", *(f"?by={name}" for name in ("page", "source", "country"))],
}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_every_answer_and_every_refusal_fits_the_documents_schemas(
    lively: None, client: FlaskClient, document: dict[str, Any], endpoint: Endpoint
) -> None:
    """Schemas forbid fields that they do not name."""
    path = endpoint.path.replace("{site}", "default").replace("{session_id}", "s")
    for query in QUERIES.get(endpoint.path, [""]):
        response = client.get(path + query)
        assert response.status_code == 200
        _schema(document, endpoint.path).validate(response.get_json())
    for name in ("X-LiveInsight-As-Of", "X-LiveInsight-Complete"):
        described = document["paths"][endpoint.path]["get"]["responses"]["200"].get("headers", {})
        assert (name in response.headers) == (name in described)
    if endpoint.strict:
        refusal = client.get(f"{path}?nonsense=1")
        assert refusal.status_code == 400
        _schema(document, endpoint.path, "400").validate(refusal.get_json())
    if endpoint.of_site:
        missing = path.replace("default", "nowhere") + ("?dimension=page" if "breakdown" in path else "?site=nowhere")
        missing = missing.replace("?site=nowhere", "") if "/v1/" in path else missing
        refusal = client.get(missing)
        assert refusal.status_code == 404
        _schema(document, endpoint.path, "404").validate(refusal.get_json())


def test_the_document_describes_exactly_the_routes_of_the_app(client: FlaskClient, document: dict[str, Any]) -> None:
    """Rules of the app, written the document's way; the second one with a trailing slash is the same endpoint."""
    rules = {re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule) for rule in client.application.url_map.iter_rules()}
    assert {rule.rstrip("/") or "/" for rule in rules} == set(document["paths"])
    for rule in client.application.url_map.iter_rules():
        assert rule.methods == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_every_parameter_is_accepted_within_its_bounds_and_refused_beyond(
    lively: None, client: FlaskClient, document: dict[str, Any], endpoint: Endpoint
) -> None:
    """Each parameter with each of its edge values, and one step over."""
    path = endpoint.path.replace("{site}", "default").replace("{session_id}", "s")
    needed = {"dimension": "page"} if "breakdown" in path else {}
    for parameter in document["paths"][endpoint.path]["get"]["parameters"]:
        if parameter["in"] == "path":
            assert f"{{{parameter['name']}}}" in endpoint.path
            continue
        name, schema = parameter["name"], parameter["schema"]
        good, bad = _edges(name, schema)
        for value in good:
            assert client.get(path, query_string={**needed, name: value}).status_code in {200, *_ALLOWED.get(name, ())}
        for value in bad:
            assert client.get(path, query_string={**needed, name: value}).status_code in {400, 404}
        if "default" in schema:
            default = json.dumps(schema["default"])
            with_default = client.get(path, query_string={**needed, name: default})
            assert with_default.get_json() == client.get(path, query_string=needed).get_json()


_ALLOWED = {"period": (400,), "sort": (400,)}
"""Values that are taken in general, but not with everything: 24h by the breakdown, custom without from and to."""


def _edges(name: str, schema: dict[str, Any]) -> Any:
    if schema["type"] == "integer":
        return [schema["minimum"], schema["maximum"]], [schema["minimum"] - 1, schema["maximum"] + 1, "x"]
    if schema["type"] == "boolean":
        return ["true", "false"], ["yes"]
    if "enum" in schema:
        return schema["enum"], ["nonsense"]
    return (["default"] if name == "site" else []), ["nonsense"]


def test_the_document_lists_every_dimension(document: dict[str, Any]) -> None:
    """A new dimension is one entry in the table of rollups: here it appears by itself."""
    parameters = document["paths"]["/v1/sites/{site}/breakdown"]["get"]["parameters"]
    (dimension,) = (parameter for parameter in parameters if parameter["name"] == "dimension")
    assert dimension["schema"]["enum"] == list(BY_NAME)


def test_the_document_is_a_valid_openapi_document(document: dict[str, Any]) -> None:
    """References resolve, operation ids are unique, schemas are schemas."""
    operations = [item["get"]["operationId"] for item in document["paths"].values()]
    assert len(operations) == len(set(operations))
    assert document["openapi"] == "3.1.0"
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
