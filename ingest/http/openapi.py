"""The OpenAPI 3.1 document of ingest: every route, what it takes, what it answers, and every reason.

Schemas come from the types that payloads are decoded into and answers are encoded from, so the document cannot promise
what is not there. Tests hold the rest to it: the routes, the statuses and the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.contract import limits
from ingest.contract.reasons import MEANINGS
from ingest.http import pixel
from ingest.http.answers import Failure, PartlyTaken, Receipts, Status, Taken
from ingest.http.limits_view import Limits
from ingest.pipeline.payload import Payload, ServerPayload
from ingest.tracing.trace import Trace
from liveinsight import __version__

_TYPES: tuple[Any, ...] = (Payload, ServerPayload, Taken, PartlyTaken, Receipts, Trace, Limits, Status, Failure)
_KEY: list[dict[str, list[str]]] = [{"key": []}]
_ID = {"type": "string", "minLength": 1, "maxLength": limits.MAX_ID}
_TEXT = {"type": "string", "maxLength": limits.MAX_URL}


@dataclass(frozen=True)
class Operation:
    """One method of one path. `answers` are by status: the type of a JSON body, a media type, or nothing."""

    path: str
    method: str
    name: str
    summary: str
    answers: dict[int, Any]
    body: type[Payload] | None = None
    parameters: Sequence[dict[str, Any]] = ()
    keyed: bool = False


def _parameter(name: str, meaning: str, where: str = "query", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": meaning,
        "schema": schema or {"type": "string"},
    }


_BODY_ERRORS = dict.fromkeys((400, 403, 404, 405, 413, 415, 429, 500, 503), Failure)
_NO_BODY_ERRORS = dict.fromkeys((405, 500), Failure)
_TRACED = (
    _parameter("id", "a receipt, or an event's own id", "path", {"type": "string", "minLength": 1}),
    _parameter("site", "with an event's own id: its site; absent means the default one", schema=_ID),
    _parameter("session_id", "with an event's own id: the session that it was sent with", schema=_ID),
    _parameter("user_id", "with an event's own id, in place of session_id: the user that it was sent with", schema=_ID),
)
_IMAGE = "image/gif"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "/collect",
        "post",
        "collect",
        "Take events of a browser. 202 and 207 mean that the stream has them.",
        {202: Taken, 207: PartlyTaken, **_BODY_ERRORS},
        body=Payload,
    ),
    Operation(
        "/collect",
        "options",
        "collect_preflight",
        "Tell a browser whether it may send events.",
        {204: None, 403: Failure, 500: Failure},
    ),
    Operation(
        pixel.PATH,
        "get",
        "collect_gif",
        f"Take an event of a page without scripts. The answer is always the image; {pixel.REASON} says why not.",
        dict.fromkeys((200, 400, 403, 404, 405, 429, 500, 503), _IMAGE),
        parameters=[_parameter(name, meaning, schema=_TEXT) for name, meaning in pixel.PARAMETERS.items()],
    ),
    Operation(
        "/v1/events",
        "post",
        "events",
        "Take events of a server, with the site's API key, and give a receipt for each.",
        {202: Receipts, 207: Receipts, 401: Failure, **_BODY_ERRORS},
        body=ServerPayload,
        keyed=True,
    ),
    Operation(
        "/v1/events/{id}/trace",
        "get",
        "trace",
        "What became of an event: streamed, applied, a duplicate, a dead letter, or dropped and why.",
        {200: Trace, **dict.fromkeys((401, 403, 404, 405, 429, 500, 503), Failure)},
        parameters=_TRACED,
        keyed=True,
    ),
    Operation(
        "/v1/limits",
        "get",
        "limits",
        "What is taken and what is not: sizes, counts, rates, times.",
        {200: Limits, 404: Failure, 503: Failure, **_NO_BODY_ERRORS},
        parameters=[_parameter("site", "whose own limits to tell; absent means the default one", schema=_ID)],
    ),
    Operation("/openapi.json", "get", "openapi", "This document.", {200: "application/json", **_NO_BODY_ERRORS}),
    Operation(
        "/tracker.js", "get", "tracker", "The browser script.", {200: "text/javascript", 304: None, 404: Failure}
    ),
    Operation("/healthz", "get", "healthz", "The process is alive.", {200: Status, **_NO_BODY_ERRORS}),
    Operation("/metrics", "get", "metrics", "Numbers about ingest itself, for Prometheus.", {200: "text/plain"}),
    Operation("/readyz", "get", "readyz", "It can do its work.", {200: Status, 503: Failure, **_NO_BODY_ERRORS}),
)

_WORDS = {
    200: "as asked",
    202: "taken: all events are on the stream, or deliberately not counted",
    204: "you may",
    207: "some events are taken and some refused; `events` says which",
    304: "as you have it",
    400: "refused: something in the request is wrong",
    401: "refused: no API key",
    403: "refused: not from this origin, or not with this key",
    404: "not found: the path, the site, or the event",
    405: "not with this method",
    413: "refused: too large, or too many events",
    415: "refused: not the media type or encoding that is read here",
    429: "refused for now: too many; Retry-After says when to try again",
    500: "a failure of ours",
    503: "not now: nothing is promised; Retry-After says when to send it again",
}


def document() -> dict[str, Any]:
    """The whole document."""
    schemas, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    references = dict(zip(_TYPES, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LiveInsight ingest", "version": __version__, "description": _description()},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "an API key of the site"}},
        },
    }


def _description() -> str:
    reasons = "\n".join(f"* `{reason}`: {meaning}" for reason, meaning in MEANINGS.items())
    return (
        f"Takes events. At most {limits.MAX_EVENTS} events and {limits.MAX_BODY_BYTES} bytes in a request; events "
        f"up to {limits.MAX_AGE_MS // 3_600_000} hours old. Every answer has a request id; send X-Request-Id to choose "
        f"it (8 to 64 letters, digits, - and _).\n\nReasons:\n\n{reasons}"
    )


def _operation(operation: Operation, references: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            str(status): _answer(status, body, references) for status, body in sorted(operation.answers.items())
        },
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        described["requestBody"] = _request_body(references[operation.body])
    if operation.keyed:
        described["security"] = _KEY
    return described


def _request_body(payload: dict[str, Any]) -> dict[str, Any]:
    several = {"type": "array", "items": payload, "minItems": 1, "maxItems": limits.MAX_EVENTS}
    envelope = {"type": "object", "required": ["events"], "properties": {"events": several}}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [payload, several, envelope]}},
            # The same as text: browsers send it without asking first.
            "text/plain": {"schema": {"type": "string", "contentMediaType": "application/json"}},
        },
    }


def _answer(status: int, body: Any, references: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _WORDS[status],
        "headers": {
            "X-Request-Id": {"description": "the request's id", "required": True, "schema": {"type": "string"}}
        },
    }
    if isinstance(body, str):
        answer["content"] = {body: {}}
    elif body is not None:
        answer["content"] = {"application/json": {"schema": references[body]}}
    return answer
