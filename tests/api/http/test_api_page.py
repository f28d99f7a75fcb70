"""docs/api.md names every route, parameter, header and reason, and its examples fit the schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from api.http import dashboard_files, openapi, routes
from api.http.endpoint_types import Endpoint, Shape
from api.http.endpoints import ENDPOINTS
from api.query.periods import PERIODS

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
HEADINGS = dict(re.findall(r"^### GET (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_route_is_named(client: FlaskClient) -> None:
    """Those with a section of their own, and the assets in that of the page."""
    rules = {re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule) for rule in client.application.url_map.iter_rules()}
    named = {rule.rstrip("/") or "/" for rule in rules}
    assert set(HEADINGS) == named - {dashboard_files.FILES.path, dashboard_files.VENDOR_FILES.path}
    assert all(f"`{route.path}`" in HEADINGS["/"] for route in (dashboard_files.FILES, dashboard_files.VENDOR_FILES))


def test_every_period_and_header_is_named() -> None:
    """As code, so that a word of the text does not count."""
    headers = ("As-Of", "Lag-Ms", "Complete", "Items-Read")
    for name in (*PERIODS, *(f"X-LiveInsight-{header}" for header in headers)):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_every_parameter_is_named_in_its_section(endpoint: Endpoint) -> None:
    """Path parameters are in the heading."""
    for parameter in endpoint.parameters:
        if not parameter.in_path:
            assert re.search(rf"`{parameter.name}[`=]", HEADINGS[endpoint.path]), parameter.name


def test_every_reason_is_named() -> None:
    """Reasons that the source raises are those of the table."""
    sources = [path.read_text() for path in Path(routes.__file__).parents[1].rglob("*.py")]
    raised = {
        reason
        for text in sources
        for reason in re.findall(r'(?:InvalidPayload\(|_refusal\(parameter,)\s*"(\w+)"', text)
    }
    raised |= {reason for text in sources for reason in re.findall(r'(?:reason: str =|reason=) ?"(\w+)"', text)}
    raised |= set(routes._REASONS.values()) | {"store_unavailable", "internal", "bad_request"}
    table = re.search(r"\| status \|(.*?)\n\n", PAGE, re.DOTALL).group(1)
    assert raised == set(re.findall(r"`([a-z]+_[a-z_]+|internal)`", table))


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in ENDPOINTS if endpoint.shape is not Shape.BARE], ids=lambda e: e.path
)
def test_every_example_fits_the_schema_of_its_endpoint(endpoint: Endpoint) -> None:
    """No example has a field too many or too few."""
    (example,) = re.findall(r"```json\n(.*?)```", HEADINGS[endpoint.path], re.DOTALL)
    document = openapi.document(ENDPOINTS)
    schema = document["paths"][endpoint.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(json.loads(example))
