"""Valid and invalid requests, generated from the OpenAPI document: every answer is in the document.

``FUZZ_CASES=10000`` tries a tenth of that for each operation that takes something; see `test_fuzz`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ingest.http.endpoints import ENDPOINTS
from liveinsight.runtime.openapi import Operation
from tests.ingest.conftest import Service

OPERATIONS = [endpoint.operation for endpoint in ENDPOINTS]
CASES = int(os.environ.get("FUZZ_CASES", "1000")) // 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_answer_is_one_that_the_document_knows(
    make_service: Callable[..., Service], operation: Operation
) -> None:
    """No status, content type, header or body beside the document's, and no 5xx."""
    service = make_service()
    service.give_keys(default="key")
    schema = schemathesis.openapi.from_wsgi("/openapi.json", service.app)
    made = schema[operation.path][operation.method.upper()]
    good = made.as_strategy(generation_mode=GenerationMode.POSITIVE)
    takes = operation.body or operation.parameters
    bad = made.as_strategy(generation_mode=GenerationMode.NEGATIVE) if takes else good
    statuses = set()

    @settings(
        max_examples=CASES if takes else 5, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
    )
    @given(
        case=good | bad,
        key=st.sampled_from(["Bearer key", "Bearer key", "Bearer key", "Bearer other", "Basic eDp5"]),
        typed=st.booleans(),
    )
    def check(case: Any, key: str, typed: bool) -> None:
        if typed:
            case.body = _typed(case.body)
        headers = {"User-Agent": CHROME}
        if operation.security:
            headers["Authorization"] = key
        response = case.call(headers=headers)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    check()
    # Who takes something was sent good and bad things; the others have one answer.
    assert len(statuses) > 1 if takes else statuses <= {200, 204, 404}, statuses


def _typed(body: Any) -> Any:
    """The same body, its events with a type: the schema alone makes few events that are accepted."""
    if isinstance(body, list):
        return [_typed(one) for one in body]
    if isinstance(body, dict) and isinstance(body.get("events"), list):
        return {**body, "events": _typed(body["events"])}
    return {**body, "event_type": body.get("event_type") or "search"} if isinstance(body, dict) else body
