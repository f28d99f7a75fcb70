"""Routes and error handlers of the ingest application. Nothing is decided here about events.

In: the table of endpoints and what their views share. Out: a Flask application in which every failure is an answer
with a reason.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from ingest.contract.limits import MAX_BODY_BYTES
from ingest.contract.reasons import Reason
from ingest.delivery.group_commit import QueueFull
from ingest.http.answers import ANY_ORIGIN, Failure, error, json_response, refusal
from ingest.http.browser_events import PIXEL_PATH, image
from ingest.http.endpoints import ENDPOINTS
from ingest.http.flask_app import Application
from ingest.http.response_headers import ResponseHeaders, add_request_ids, request_id
from ingest.http.service import Service
from liveinsight.model.errors import InvalidPayload, LiveInsightError, StreamUnavailable

logger = logging.getLogger(__name__)
_REASON_BY_STATUS = {
    400: Reason.BAD_REQUEST,
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    413: Reason.TOO_LARGE,
    415: Reason.UNSUPPORTED_MEDIA_TYPE,
    500: Reason.INTERNAL_ERROR,
}
_KEYED = "/v1/events"


def build_app(service: Service, trusted_proxies: int) -> Flask:
    """The Flask application."""
    app = Application("ingest", static_folder=None)
    # A body without Content-Length is cut at this length without an error: the one byte more shows it was too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    # A redirect would lose a beacon.
    app.url_map.merge_slashes = False
    _add_endpoints(app, service)
    _add_error_handlers(app, service)
    if trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=0, x_host=0)  # type: ignore[method-assign]
    app.wsgi_app = ResponseHeaders(app.wsgi_app)  # type: ignore[method-assign]
    add_request_ids(app.logger, logger)
    return app


def _add_endpoints(app: Flask, service: Service) -> None:
    for endpoint in ENDPOINTS:
        operation = endpoint.operation
        rule = operation.path.replace("{id}", "<path:event_id>")
        view = partial(endpoint.view, service)
        # Flask's own answer to OPTIONS is for endpoints that any page may read.
        automatic = operation.method == "GET" and not operation.security
        for path in (rule, rule + "/") if endpoint.trailing_slash else (rule,):
            app.add_url_rule(
                path, operation.name, view, methods=[operation.method], provide_automatic_options=automatic
            )


def _add_error_handlers(app: Flask, service: Service) -> None:
    handlers: dict[type[Exception], Callable[..., Response]] = {
        InvalidPayload: _refused,
        StreamUnavailable: _stream_unavailable,
        # Of another release, or damaged.
        LiveInsightError: _store_unavailable,
        HTTPException: _http_error,
    }
    for kind, handler in handlers.items():
        app.register_error_handler(kind, partial(handler, service))


def _refused(service: Service, invalid: InvalidPayload) -> Response:
    # The request is refused before its site is known.
    service.ledger.note(None, str(invalid.reason))
    response = _failure(*refusal(invalid, request_id()))
    if invalid.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _stream_unavailable(service: Service, unavailable: StreamUnavailable) -> Response:
    # Not logged here, once for each request: the stream's own errors are in the log.
    reason = Reason.QUEUE_FULL if isinstance(unavailable, QueueFull) else Reason.STREAM_UNAVAILABLE
    return _unavailable(service, reason, "the stream does not take events; send them again", unavailable.retry_after)


def _store_unavailable(service: Service, unavailable: LiveInsightError) -> Response:
    logger.warning("the store does not answer: %s", unavailable, extra={"action": "refuse"})
    return _unavailable(service, Reason.STORE_UNAVAILABLE, "the store does not answer; send the events again", 1)


def _unavailable(service: Service, reason: Reason, message: str, retry_after: float) -> Response:
    service.metrics.unavailable.labels(reason).inc()
    response = _failure(503, error(reason, message, request_id()))
    response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return response


def _http_error(service: Service, problem: HTTPException) -> Response:
    status = problem.code or 500
    reason = _REASON_BY_STATUS.get(status, Reason.BAD_REQUEST if status < 500 else Reason.INTERNAL_ERROR)
    if request.path.startswith(("/collect", _KEYED)):
        service.ledger.note(None, str(reason))
    response = _failure(status, error(reason, problem.description or problem.name, request_id()))
    for name, value in problem.get_headers():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    return response


def _failure(status: int, body: Any) -> Response:
    if request.path == PIXEL_PATH and isinstance(body, Failure):
        return image(status, body.error.reason)
    # With CORS headers a page can tell a refusal from a network error, and does not retry for ever. Endpoints with a
    # key have none: a key in a page is no secret.
    return json_response(status, body, () if request.path.startswith(_KEYED) else ANY_ORIGIN)
