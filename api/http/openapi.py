"""The OpenAPI 3.1 document, made from the tables that the routes and the assets are made from.

In: endpoints. Out: the document as plain values. Schemas come from the types that the answers are written from,
so the document cannot promise a field that an answer lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from api.http import dashboard_files, request_metrics
from api.http.endpoint_types import Endpoint, Shape
from api.http.parameters import Parameter
from api.query.answers import Error, Meta
from liveinsight import __version__

_REFUSALS = {
    "400": "a parameter is not known or does not fit",
    "404": "the site or the session is not known",
    "503": "the store does not answer; Retry-After says when to try again",
}
_FRESHNESS_HEADERS: dict[str, tuple[str, str]] = {
    "X-LiveInsight-As-Of": ("integer", "everything that arrived before is in the answer, epoch ms; absent if unknown"),
    "X-LiveInsight-Lag-Ms": ("integer", "how far that is behind now; absent if unknown"),
    "X-LiveInsight-Complete": ("string", "true when nothing is known to be missing, else false"),
    "X-LiveInsight-Items-Read": ("integer", "stored items read for the answer"),
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    types = [Error, Meta, *(endpoint.answer for endpoint in endpoints)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    answers = dict(zip((endpoint.path for endpoint in endpoints), schemas[2:], strict=True))
    paths = {endpoint.path: {"get": _operation(endpoint, answers[endpoint.path])} for endpoint in endpoints}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LiveInsight read API",
            "version": __version__,
            "description": "Precomputed web analytics. Every answer says how fresh it is and what it cost to read.",
        },
        "paths": {
            **paths,
            **{route.path: {"get": _asset(route)} for route in dashboard_files.ROUTES},
            request_metrics.PATH: {"get": _metrics()},
        },
        "components": {"schemas": components},
    }


def _operation(endpoint: Endpoint, data: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": endpoint.summary, "content": _json(_written(endpoint, data))}
    if endpoint.shape is Shape.PLAIN:
        answer["headers"] = {
            name: {"description": meaning, "schema": {"type": kind}}
            for name, (kind, meaning) in _FRESHNESS_HEADERS.items()
        }
    operation: dict[str, Any] = {
        "operationId": _identifier(endpoint.path),
        "summary": endpoint.summary,
        "parameters": [_parameter(parameter) for parameter in endpoint.parameters],
        "responses": {"200": answer},
    }
    possible = {"400": endpoint.strict or bool(endpoint.parameters), "404": endpoint.of_site, "503": endpoint.reads}
    for status, words in _REFUSALS.items():
        if possible[status]:
            operation["responses"][status] = _failure(words)
    return operation


def _written(endpoint: Endpoint, data: dict[str, Any]) -> dict[str, Any]:
    if endpoint.shape is not Shape.ENVELOPE:
        return data
    return {
        "type": "object",
        "required": ["data", "meta"],
        "properties": {"data": data, "meta": {"$ref": "#/components/schemas/Meta"}},
        "additionalProperties": False,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": schema,
    }


def _asset(route: dashboard_files.AssetRoute) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _identifier(route.path) if route.path != "/" else "dashboard",
        "summary": route.summary,
        "parameters": [_parameter(parameter) for parameter in route.parameters],
        "responses": {
            "200": {"description": route.summary, "content": {kind: {} for kind in route.content_types}},
            "404": _failure("there is no such file"),
        },
    }
    return operation


def _metrics() -> dict[str, Any]:
    summary = request_metrics.SUMMARY
    return {
        "operationId": "metrics",
        "summary": summary,
        "parameters": [],
        "responses": {"200": {"description": summary, "content": {"text/plain": {}}}},
    }


def _failure(words: str) -> dict[str, Any]:
    return {"description": words, "content": _json({"$ref": "#/components/schemas/Error"})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _identifier(path: str) -> str:
    return "_".join(part.strip("{}").replace(".", "_") for part in path.split("/") if part)
