"""HTTP: requests become calls of the pipeline, outcomes become responses. Nothing is decided here about events.

POST /collect      202 | 207 | 4xx | 503      POST /v1/events             202 | 207 | 4xx | 503, with an API key
OPTIONS /collect   204                        GET /v1/events/{id}/trace   what became of an event
GET /collect.gif   an event, as an image      GET /openapi.json           this list, for programs
GET /v1/limits     what is taken, as data
GET /tracker.js    the browser script         GET /healthz, /readyz, /metrics
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from ingest.contract.limits import MAX_BODY_BYTES
from ingest.contract.reasons import Reason
from ingest.delivery.group_commit import QueueFull
from ingest.enrichment.geo import NOWHERE, place_of_headers
from ingest.http import openapi, pixel
from ingest.http.answers import Failure, Status, answer, error, refusal
from ingest.http.flask_app import Application
from ingest.http.limits_view import limits_of
from ingest.http.readiness import MESSAGES, Readiness
from ingest.http.request_headers import check_body_is_readable, page_origin
from ingest.http.response_headers import REQUEST_ID_KEY, EveryAnswer, add_request_ids, request_id
from ingest.http.responses import json_response
from ingest.http.server_events import PREFIX as KEYED
from ingest.http.server_events import ServerEvents
from ingest.pipeline.context import Context
from ingest.pipeline.drop_ledger import Ledger
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.sender import site_of
from liveinsight.model.clock import Clock
from liveinsight.model.errors import InvalidPayload, StoreUnavailable, StreamUnavailable
from liveinsight.runtime.metrics import CONTENT_TYPE, IngestMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SitesNow

logger = logging.getLogger(__name__)
_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "86400"),
)
_ANY_PAGE = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "Retry-After"))
_TRACKER_MAX_AGE_SECONDS = 3600
_REASON_BY_STATUS = {
    400: Reason.BAD_REQUEST,
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    413: Reason.TOO_LARGE,
    415: Reason.UNSUPPORTED_MEDIA_TYPE,
    500: Reason.INTERNAL_ERROR,
}


class Routes:
    """The views of one application."""

    def __init__(
        self,
        pipeline: Pipeline,
        readiness: Readiness,
        settings: Settings,
        clock: Clock,
        *,
        sites: SitesNow,
        tracker_file: Path,
        ledger: Ledger,
        server_events: ServerEvents,
        read_body: Callable[[Mapping[str, Any]], bytes],
        metrics: IngestMetrics,
    ) -> None:
        self._pipeline = pipeline
        self._readiness = readiness
        self._clock = clock
        self._sites = sites
        self._tracker_file = tracker_file
        self._ledger = ledger
        self._behind_proxy = settings.trusted_proxies > 0
        self._gif = pixel.Gif(pipeline, self._context)
        self._server_events = server_events
        self._read_body = read_body
        self._metrics = metrics
        self._document = openapi.document()

    def add_to(self, app: Flask) -> None:
        """Register all views and error handlers."""
        for path in ("/collect", "/collect/"):
            app.add_url_rule(
                path, "collect" + path, self.collect, methods=["POST", "OPTIONS"], provide_automatic_options=False
            )
        app.add_url_rule(pixel.PATH, "gif", self._gif.view)
        self._server_events.add_to(app)
        app.add_url_rule("/v1/limits", "limits", self.limits)
        app.add_url_rule("/openapi.json", "openapi", self.openapi)
        app.add_url_rule("/tracker.js", "tracker", self.tracker)
        app.add_url_rule("/healthz", "healthz", self.healthz)
        app.add_url_rule("/readyz", "readyz", self.readyz)
        app.add_url_rule("/metrics", "metrics", self.metrics)
        app.register_error_handler(InvalidPayload, self._refuse)
        app.register_error_handler(StreamUnavailable, self._stream_unavailable)
        app.register_error_handler(StoreUnavailable, self._store_unavailable)
        app.register_error_handler(HTTPException, self._http_error)

    def collect(self) -> Response:
        """Take events, or answer a browser's question whether it may send them."""
        environ = request.environ
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return Response(status=204, headers=[*_PREFLIGHT, *self._cors_headers()])
        check_body_is_readable(environ)
        outcome = self._pipeline.collect(self._read_body(environ), self._context_of(environ))
        response = json_response(*answer(outcome, environ[REQUEST_ID_KEY]), _ANY_PAGE)
        if response.status_code == 429:
            response.headers["Retry-After"] = str(outcome.retry_after)
        return response

    def limits(self) -> Response:
        """What is taken and what is not."""
        sites, name = self._sites(), request.args.get("site")
        return self._json(200, limits_of(site_of(sites, name) if name or sites.default else None))

    def openapi(self) -> Response:
        """The document that says all this to programs."""
        return self._json(200, self._document)

    def tracker(self) -> Response:
        """The browser script."""
        try:
            script = self._tracker_file.read_bytes()
        except FileNotFoundError:
            abort(404)
        response = Response(script, mimetype="text/javascript")
        response.cache_control.public = True
        response.cache_control.max_age = _TRACKER_MAX_AGE_SECONDS
        response.add_etag()
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.make_conditional(request)
        return response

    def healthz(self) -> Response:
        """The process is alive."""
        return self._json(200, Status(status="ok"))

    def readyz(self) -> Response:
        """The process can do its work."""
        trouble = self._readiness.trouble()
        if trouble:
            return self._json(503, error(trouble, MESSAGES[trouble], request_id()))
        return self._json(200, Status(status="ok"))

    def metrics(self) -> Response:
        """Numbers about ingest itself, for Prometheus."""
        return Response(self._metrics.render(), content_type=CONTENT_TYPE)

    def _context(self) -> Context:
        return self._context_of(request.environ)

    def _context_of(self, environ: Mapping[str, Any]) -> Context:
        place = place_of_headers(environ) if self._behind_proxy else NOWHERE
        return Context(
            received_at=self._clock(),
            client_address=environ.get("REMOTE_ADDR", ""),
            user_agent=environ.get("HTTP_USER_AGENT", ""),
            accept_language=environ.get("HTTP_ACCEPT_LANGUAGE", ""),
            country=place.country,
            region=place.region,
            origin=page_origin(environ) or "",
            opted_out=environ.get("HTTP_DNT") == "1" or environ.get("HTTP_SEC_GPC") == "1",
        )

    def _json(self, status: int, body: Any) -> Response:
        if request.path == pixel.PATH and isinstance(body, Failure):
            return pixel.image(status, body.error.reason)
        return json_response(status, body, self._cors_headers())

    def _cors_headers(self) -> Sequence[tuple[str, str]]:
        # A key that a page knows is no secret: no page may read what is answered to one.
        if request.path.startswith(KEYED):
            return ()
        # Refusals carry them too, or a page could not tell "refused" from "no network" and would try for ever. Whose
        # pages may send events is a matter of each event's site, so any page may ask.
        return _ANY_PAGE

    def _refuse(self, invalid: InvalidPayload) -> Response:
        # What comes here is refused before it is known which site it is for.
        self._ledger.note(None, str(invalid.reason))
        response = self._json(*refusal(invalid, request_id()))
        if invalid.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _stream_unavailable(self, unavailable: StreamUnavailable) -> Response:
        # Not logged here: it would be a line for each request, and the stream's own errors are in the log.
        reason = Reason.QUEUE_FULL if isinstance(unavailable, QueueFull) else Reason.STREAM_UNAVAILABLE
        return self._unavailable(reason, "the stream does not take events; send them again", unavailable.retry_after)

    def _store_unavailable(self, unavailable: StoreUnavailable) -> Response:
        logger.warning("the store does not answer: %s", unavailable, extra={"action": "refuse"})
        return self._unavailable(Reason.STORE_UNAVAILABLE, "the store does not answer; send the events again", 1)

    def _unavailable(self, reason: Reason, message: str, retry_after: float) -> Response:
        self._metrics.unavailable.labels(reason).inc()
        response = self._json(503, error(reason, message, request_id()))
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        return response

    def _http_error(self, problem: HTTPException) -> Response:
        status = problem.code or 500
        reason = _REASON_BY_STATUS.get(status, Reason.BAD_REQUEST if status < 500 else Reason.INTERNAL_ERROR)
        if request.path.startswith(("/collect", KEYED)):
            self._ledger.note(None, str(reason))
        response = self._json(status, error(reason, problem.description or problem.name, request_id()))
        for name, value in problem.get_headers():
            if name in {"Allow", "Retry-After"}:
                response.headers[name] = value
        return response


def build_app(routes: Routes, trusted_proxies: int) -> Flask:
    """A Flask application with these routes."""
    app = Application("ingest", static_folder=None)
    # A body without Content-Length is cut at this length without an error: the one byte more shows it was too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    # A redirect would lose a beacon.
    app.url_map.merge_slashes = False
    routes.add_to(app)
    if trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=0, x_host=0)  # type: ignore[method-assign]
    app.wsgi_app = EveryAnswer(app.wsgi_app)  # type: ignore[method-assign]
    add_request_ids(app.logger, logger)
    return app
