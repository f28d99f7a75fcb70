"""The table of endpoints: routes and the OpenAPI document are both made from it.

In: views, and the types of payloads and answers. Out: `ENDPOINTS`, and the document as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Response

from ingest.contract import limits
from ingest.contract.reasons import MEANINGS
from ingest.http import browser_events, server_events, service_views
from ingest.http.answers import ANY_ORIGIN, AcceptedEvents, Failure, Health, PartlyAccepted, Receipts, json_response
from ingest.http.service import Endpoint, Service
from ingest.pipeline.payload import Payload, ServerPayload
from ingest.tracing.trace import Trace
from liveinsight.model.buckets import HOUR_MS
from liveinsight.runtime import openapi
from liveinsight.runtime.openapi import Content, Operation, Parameter, ResponseSpec, Schema

_STATUSES = {
    200: "OK",
    202: "accepted: all events are on the stream, or deliberately not counted",
    204: "preflight accepted",
    207: "partly accepted: some events are refused; `events` has the result of each",
    304: "not modified",
    400: "bad request",
    401: "unauthorized: no API key",
    403: "forbidden: this origin or this key",
    404: "not found: the path, the site, or the event",
    405: "method not allowed",
    413: "content too large, or too many events",
    415: "unsupported media type or content encoding",
    429: "too many requests; retry after Retry-After",
    500: "internal error",
    503: "unavailable: no event is acknowledged; retry after Retry-After",
}
_HEADERS = {"X-Request-Id": {"description": "the request's id", "required": True, "schema": {"type": "string"}}}
_IMAGE = "image/gif"
_KEY = "key"
_ID = {"type": "string", "minLength": 1, "maxLength": limits.MAX_ID}
_TEXT = {"type": "string", "maxLength": limits.MAX_URL}


def _responses(bodies: Mapping[int, Any]) -> dict[int, ResponseSpec]:
    """Responses by status: the type of a JSON body, a media type, or None for no body."""
    return {
        status: ResponseSpec(
            _STATUSES[status],
            None if body is None else Content(media_types={body: {}}) if isinstance(body, str) else Content(body),
            _HEADERS,
        )
        for status, body in bodies.items()
    }


def _events(payload: type[Payload]) -> Content:
    """A request body: one event, an array, or an object with an array."""

    def several(schema: Schema) -> Schema:
        array = {"type": "array", "items": schema, "minItems": 1, "maxItems": limits.MAX_EVENTS}
        envelope = {"type": "object", "required": ["events"], "properties": {"events": array}}
        return {"anyOf": [schema, array, envelope]}

    # The same as text: browsers send it without a preflight request.
    text = {"schema": {"type": "string", "contentMediaType": "application/json"}}
    return Content(payload, several, {"text/plain": text})


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    reasons = "\n".join(f"* `{reason}`: {meaning}" for reason, meaning in MEANINGS.items())
    return openapi.document(
        "LiveInsight ingest",
        f"Takes events. At most {limits.MAX_EVENTS} events and {limits.MAX_BODY_BYTES} bytes in a request; events "
        f"up to {limits.MAX_AGE_MS // HOUR_MS} hours old. Every answer has a request id; send X-Request-Id to choose "
        f"it (8 to 64 letters, digits, - and _).\n\nReasons:\n\n{reasons}",
        [endpoint.operation for endpoint in ENDPOINTS],
        security={_KEY: {"type": "http", "scheme": "bearer", "description": "an API key of the site"}},
    )


def _openapi(_: Service) -> Response:
    return json_response(200, document(), ANY_ORIGIN)


_BODY_ERRORS = dict.fromkeys((400, 403, 404, 405, 413, 415, 429, 500, 503), Failure)
_NO_BODY_ERRORS = dict.fromkeys((405, 500), Failure)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        browser_events.collect,
        Operation(
            "/collect",
            "POST",
            "collect",
            "Take events of a browser. 202 and 207 mean that the stream has the accepted ones.",
            _responses({202: AcceptedEvents, 207: PartlyAccepted, **_BODY_ERRORS}),
            body=_events(Payload),
        ),
        trailing_slash=True,
    ),
    Endpoint(
        browser_events.preflight,
        Operation(
            "/collect",
            "OPTIONS",
            "collect_preflight",
            "Tell a browser that it may send events.",
            _responses({204: None, 403: Failure, 500: Failure}),
        ),
        trailing_slash=True,
    ),
    Endpoint(
        browser_events.pixel,
        Operation(
            browser_events.PIXEL_PATH,
            "GET",
            "collect_gif",
            "Take an event of a page without scripts. The answer is always the image; "
            f"{browser_events.REASON_HEADER} has the reason of a refusal.",
            _responses(dict.fromkeys((200, 400, 403, 404, 405, 429, 500, 503), _IMAGE)),
            [Parameter(name, _TEXT, meaning) for name, meaning in browser_events.PIXEL_PARAMETERS.items()],
        ),
    ),
    Endpoint(
        server_events.take,
        Operation(
            "/v1/events",
            "POST",
            "events",
            "Take events of a server, with the site's API key, and give a receipt for each.",
            _responses({202: Receipts, 207: Receipts, 401: Failure, **_BODY_ERRORS}),
            body=_events(ServerPayload),
            security=_KEY,
        ),
    ),
    Endpoint(
        server_events.trace,
        Operation(
            "/v1/events/{id}/trace",
            "GET",
            "trace",
            "The state of an event: streamed, applied, a duplicate, a dead letter, or dropped and why.",
            _responses({200: Trace, **dict.fromkeys((401, 403, 404, 405, 429, 500, 503), Failure)}),
            (
                Parameter(
                    "id",
                    {"type": "string", "minLength": 1},
                    "a receipt, or an event's own id",
                    required=True,
                    in_path=True,
                ),
                Parameter("site", _ID, "with an event's own id: its site; absent means the default one"),
                Parameter("session_id", _ID, "with an event's own id: the session that it was sent with"),
                Parameter(
                    "user_id", _ID, "with an event's own id, in place of session_id: the user that it was sent with"
                ),
            ),
            security=_KEY,
        ),
    ),
    Endpoint(
        service_views.limits,
        Operation(
            "/v1/limits",
            "GET",
            "limits",
            "Limits of events and requests: sizes, counts, rates, times.",
            _responses({200: service_views.Limits, 404: Failure, 503: Failure, **_NO_BODY_ERRORS}),
            [Parameter("site", _ID, "the site whose own limits are shown; absent means the default one")],
        ),
    ),
    Endpoint(
        _openapi,
        Operation(
            "/openapi.json",
            "GET",
            "openapi",
            "This document.",
            _responses({200: "application/json", **_NO_BODY_ERRORS}),
        ),
    ),
    Endpoint(
        service_views.tracker,
        Operation(
            "/tracker.js",
            "GET",
            "tracker",
            "The browser script.",
            _responses({200: "text/javascript", 304: None, 404: Failure}),
        ),
    ),
    Endpoint(
        service_views.healthz,
        Operation("/healthz", "GET", "healthz", "The process is alive.", _responses({200: Health, **_NO_BODY_ERRORS})),
    ),
    Endpoint(
        service_views.metrics,
        Operation("/metrics", "GET", "metrics", "Metrics of ingest, for Prometheus.", _responses({200: "text/plain"})),
    ),
    Endpoint(
        service_views.readyz,
        Operation(
            "/readyz",
            "GET",
            "readyz",
            "The process can take events.",
            _responses({200: Health, 503: Failure, **_NO_BODY_ERRORS}),
        ),
    ),
)
