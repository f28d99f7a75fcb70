"""The read API's OpenAPI document, made from the tables that its routes are made from.

In: endpoints. Out: the document as plain values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.http import dashboard_files, request_metrics
from api.http.endpoint_types import Endpoint, Shape
from api.query.answers import Error, Meta
from liveinsight.runtime import openapi
from liveinsight.runtime.openapi import Content, Operation, ResponseSpec, Schema

_BAD_REQUEST = "bad request: unknown parameter or invalid value"
_NOT_FOUND = "not found: site or session"
_UNAVAILABLE = "unavailable: the store does not answer; retry after Retry-After"
_FRESHNESS_HEADERS: dict[str, tuple[str, str]] = {
    "X-LiveInsight-As-Of": ("integer", "everything that arrived before is in the answer, epoch ms; absent if unknown"),
    "X-LiveInsight-Lag-Ms": ("integer", "how far that is behind now; absent if unknown"),
    "X-LiveInsight-Complete": ("string", "true when nothing is known to be missing, else false"),
    "X-LiveInsight-Items-Read": ("integer", "stored items read for the answer"),
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    return openapi.document(
        "LiveInsight read API",
        "Precomputed web analytics. Every answer says how fresh it is and what it cost to read.",
        [*map(_operation, endpoints), *map(_asset, dashboard_files.ROUTES), _metrics()],
        types=(Meta,),
    )


def _operation(endpoint: Endpoint) -> Operation:
    headers = {
        name: {"description": meaning, "schema": {"type": kind}} for name, (kind, meaning) in _FRESHNESS_HEADERS.items()
    }
    content = Content(endpoint.answer, _envelope) if endpoint.shape is Shape.ENVELOPE else Content(endpoint.answer)
    responses = {200: ResponseSpec(endpoint.summary, content, headers if endpoint.shape is Shape.PLAIN else {})}
    if endpoint.strict or endpoint.parameters:
        responses[400] = _failure(_BAD_REQUEST)
    if endpoint.of_site:
        responses[404] = _failure(_NOT_FOUND)
    if endpoint.reads:
        responses[503] = _failure(_UNAVAILABLE)
    return Operation(
        endpoint.path, "get", _identifier(endpoint.path), endpoint.summary, responses, parameters=endpoint.parameters
    )


def _envelope(data: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["data", "meta"],
        "properties": {"data": data, "meta": {"$ref": "#/components/schemas/Meta"}},
        "additionalProperties": False,
    }


def _asset(route: dashboard_files.AssetRoute) -> Operation:
    content = Content(media_types={kind: {} for kind in route.content_types})
    responses = {200: ResponseSpec(route.summary, content), 404: _failure("not found")}
    name = _identifier(route.path) or "dashboard"
    return Operation(route.path, "get", name, route.summary, responses, parameters=route.parameters)


def _metrics() -> Operation:
    summary = request_metrics.SUMMARY
    return Operation(
        request_metrics.PATH,
        "get",
        "metrics",
        summary,
        {200: ResponseSpec(summary, Content(media_types={"text/plain": {}}))},
    )


def _failure(description: str) -> ResponseSpec:
    return ResponseSpec(description, Content(Error))


def _identifier(path: str) -> str:
    return "_".join(part.strip("{}").replace(".", "_") for part in path.split("/") if part)
