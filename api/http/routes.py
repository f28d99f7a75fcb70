"""Routes: from a request to a question, and from an answer to a response.

In: the table of endpoints. Out: views and error handlers of the Flask application. Promises: every failure is JSON with
a reason; watermarks are read before counters, so that `as_of` is never later than what the answer includes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from flask import Flask, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException

from api.http.endpoint_types import Answer, Endpoint, Question, Shape
from api.http.endpoints import ENDPOINTS
from api.http.parameters import read_parameters
from api.query.answers import Error, Meta, Problem
from api.query.freshness import Freshness, freshness_of
from api.query.periods import iso
from liveinsight.model.clock import Clock
from liveinsight.model.errors import InvalidPayload, LiveInsightError
from liveinsight.runtime.metrics import ApiMetrics
from liveinsight.sites.cache import SitesNow
from liveinsight.sites.site import Sites
from liveinsight.storage.store import Read, ReadStore, Watermark

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"

SECURITY_HEADERS = {
    # The dashboard loads everything from here; nothing is inline, framed, embedded or sent elsewhere.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

_NO_WATERMARKS: Read[Watermark] = Read([], 0)
_REASONS = {404: "not_found", 405: "method_not_allowed"}
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class Service:
    """What all views share."""

    sites: SitesNow
    store: ReadStore
    clock: Clock
    metrics: ApiMetrics
    note_viewed: Callable[[str], None]
    """Says that previews of a site are of use to somebody."""


def serve_endpoints(app: Flask, service: Service) -> None:
    """Register every endpoint, with and without a trailing slash."""
    for endpoint in ENDPOINTS:
        rule = endpoint.path.replace("{site}", "<site>").replace("{session_id}", "<path:session_id>")
        view = _view(endpoint, service)
        for variant in (rule, rule + "/"):
            app.add_url_rule(variant, endpoint=endpoint.path, view_func=view, methods=["GET"])


def serve_errors(app: Flask) -> None:
    """Make every failure JSON, and add the security headers to every answer."""
    app.register_error_handler(InvalidPayload, _refused)
    app.register_error_handler(LiveInsightError, _unavailable)
    app.register_error_handler(HTTPException, _failed)
    app.after_request(_with_headers)


def _view(endpoint: Endpoint, service: Service) -> Callable[..., Response]:
    def view(site: str | None = None, session_id: str = "") -> Response:
        values = read_parameters(endpoint.parameters, _query(), strict=endpoint.strict)
        name = site if site is not None else values.get("site")
        sites = service.sites()
        name = sites.default if name is None else name
        now = service.clock()
        zone = _zone(sites, name)
        watermarks = _NO_WATERMARKS if endpoint.shape is Shape.BARE else service.store.read_watermarks()
        first = endpoint.fresh and not values.get("by")
        if endpoint.reads and not first:
            service.note_viewed(name)
        freshness = freshness_of(watermarks.rows, name, now, first=first)
        question = Question(
            service.store, sites.zones, name, zone, now, freshness, values=values, session_id=session_id
        )
        answer = endpoint.handler(question)
        if answer.partial:
            question = replace(question, freshness=freshness.without_previews())
        items_read = watermarks.items_read + answer.items_read
        service.metrics.items_read.labels(endpoint.path).inc(items_read)
        if endpoint.shape is Shape.ENVELOPE:
            return _json({"data": answer.data, "meta": _meta(endpoint, question, answer, items_read)})
        response = _json(answer.data)
        if endpoint.shape is Shape.PLAIN:
            response.headers.update(_freshness_headers(question.freshness, answer, items_read))
        return response

    return view


def _query() -> MultiDict[str, str]:
    try:
        return request.args
    except UnicodeDecodeError:
        raise InvalidPayload("bad_query", "the query string is not UTF-8; percent-encode it") from None


def _zone(sites: Sites, site: str) -> ZoneInfo:
    zone = sites.zones.get(site)
    if zone is None:
        raise InvalidPayload("unknown_site", "there is no such site; /v1/sites lists them", status=404, field="site")
    return zone


def _meta(endpoint: Endpoint, question: Question, answer: Answer, items_read: int) -> Meta:
    zone, freshness = question.zone, question.freshness
    return Meta(
        site=question.site if endpoint.of_site else None,
        time_zone=zone.key if endpoint.of_site else None,
        as_of=freshness.as_of,
        lag_ms=freshness.lag_ms,
        complete=freshness.complete_until(answer.end_ms),
        items_read=items_read,
        start=None if answer.start_ms is None else iso(answer.start_ms, zone),
        end=None if answer.end_ms is None else iso(answer.end_ms, zone),
        **answer.more,
    )


def _freshness_headers(freshness: Freshness, answer: Answer, items_read: int) -> dict[str, str]:
    headers = {
        "X-LiveInsight-Complete": "true" if freshness.complete_until(answer.end_ms) else "false",
        "X-LiveInsight-Items-Read": str(items_read),
    }
    if freshness.as_of is not None:
        headers["X-LiveInsight-As-Of"] = str(freshness.as_of)
        headers["X-LiveInsight-Lag-Ms"] = str(freshness.lag_ms)
    return headers


def _json(data: Any, status: int = 200) -> Response:
    response = Response(_encoder.encode(data), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _error(status: int, reason: str, message: str) -> Response:
    return _json(Error(error=Problem(reason=reason, message=message)), status)


def _refused(error: InvalidPayload) -> Response:
    return _error(error.status, error.reason, error.message)


def _unavailable(error: LiveInsightError) -> Response:
    logger.warning("the store does not answer: %s", error, extra={"action": "refuse"})
    response = _error(503, "store_unavailable", "the store does not answer; retry later")
    response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def _failed(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        return _error(status, "internal", "internal error; see the log")
    response = _error(status, _REASONS.get(status, "bad_request"), error.description or error.name)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers["Allow"] = value
    return response


def _with_headers(response: Response) -> Response:
    response.headers.update(SECURITY_HEADERS)
    return response
