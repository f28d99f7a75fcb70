"""HTTP: requests become calls of the pipeline, outcomes become responses. Nothing is decided here about events.

POST /collect      202 | 207 | 4xx | 503      GET /tracker.js   the browser script
OPTIONS /collect   204                        GET /healthz, /readyz
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType
from werkzeug.http import parse_options_header
from werkzeug.middleware.proxy_fix import ProxyFix

from ingest.answers import answer, error, refusal
from ingest.context import Context
from ingest.health import Readiness
from ingest.ledger import Ledger
from ingest.limits import MAX_BODY_BYTES
from ingest.pipeline import Pipeline
from ingest.places import country_of
from ingest.reasons import Reason
from liveinsight.clock import Clock
from liveinsight.errors import InvalidPayload, StoreUnavailable, StreamUnavailable
from liveinsight.settings import Settings

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode

_MEDIA_TYPES = frozenset({"application/json", "text/plain"})
_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "86400"),
)
_EXPOSED = ("Access-Control-Expose-Headers", "Retry-After")
_NOT_STORED = ("Cache-Control", "no-store")
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
        tracker_file: Path,
        ledger: Ledger,
    ) -> None:
        self._pipeline = pipeline
        self._readiness = readiness
        self._clock = clock
        self._tracker_file = tracker_file
        self._ledger = ledger
        self._any_origin = "*" in settings.allowed_origins
        self._origins = frozenset(settings.allowed_origins)
        self._behind_proxy = settings.trusted_proxies > 0

    def add_to(self, app: Flask) -> None:
        """Register all views and error handlers."""
        for path in ("/collect", "/collect/"):
            app.add_url_rule(
                path, "collect" + path, self.collect, methods=["POST", "OPTIONS"], provide_automatic_options=False
            )
        app.add_url_rule("/tracker.js", "tracker", self.tracker)
        app.add_url_rule("/healthz", "healthz", self.healthz)
        app.add_url_rule("/readyz", "readyz", self.readyz)
        app.register_error_handler(InvalidPayload, self._refuse)
        app.register_error_handler(StreamUnavailable, self._stream_unavailable)
        app.register_error_handler(StoreUnavailable, self._store_unavailable)
        app.register_error_handler(HTTPException, self._http_error)

    def collect(self) -> Response:
        """Take events, or answer a browser's question whether it may send them."""
        environ = request.environ
        self._check_origin(environ.get("HTTP_ORIGIN"))
        if request.method == "OPTIONS":
            return Response(status=204, headers=[*_PREFLIGHT, *self._cors_headers()])
        if not _is_readable(environ.get("CONTENT_TYPE", "")):
            raise UnsupportedMediaType("use application/json or text/plain")
        outcome = self._pipeline.collect(
            request.get_data(cache=False),
            Context(
                received_at=self._clock(),
                client_address=request.remote_addr or "",
                user_agent=environ.get("HTTP_USER_AGENT", ""),
                accept_language=environ.get("HTTP_ACCEPT_LANGUAGE", ""),
                country=country_of(environ) if self._behind_proxy else "",
                anonymous=environ.get("HTTP_DNT") == "1" or environ.get("HTTP_SEC_GPC") == "1",
            ),
        )
        return self._json(*answer(outcome))

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
        response.headers["X-Content-Type-Options"] = "nosniff"
        # Pages that isolate themselves load scripts of other origins only with this.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.make_conditional(request)
        return response

    def healthz(self) -> Response:
        """The process is alive."""
        return self._json(200, {"status": "ok"})

    def readyz(self) -> Response:
        """The process can do its work."""
        trouble = self._readiness.trouble()
        if trouble:
            return self._json(503, error(trouble, "the stream does not answer"))
        return self._json(200, {"status": "ok"})

    def _check_origin(self, origin: str | None) -> None:
        if origin and not self._any_origin and origin.lower() not in self._origins:
            raise InvalidPayload(Reason.ORIGIN_NOT_ALLOWED, "this origin may not send events here", status=403)

    def _json(self, status: int, body: dict[str, Any]) -> Response:
        headers = [_NOT_STORED, *self._cors_headers()]
        return Response(_encode(body), status, headers, content_type="application/json")

    def _cors_headers(self) -> list[tuple[str, str]]:
        # Refusals carry them too, or a page could not tell "refused" from "no network" and would try for ever.
        origin = request.environ.get("HTTP_ORIGIN")
        if self._any_origin or not origin:
            return [("Access-Control-Allow-Origin", "*"), _EXPOSED]
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin"), _EXPOSED]

    def _refuse(self, invalid: InvalidPayload) -> Response:
        # What comes here is refused before it is known which site it is for.
        self._ledger.note(None, str(invalid.reason))
        return self._json(*refusal(invalid))

    def _stream_unavailable(self, unavailable: StreamUnavailable) -> Response:
        _log.warning("action=refuse reason=%s detail=%s", Reason.STREAM_UNAVAILABLE, unavailable)
        return self._unavailable(
            Reason.STREAM_UNAVAILABLE, "the stream does not take events; send them again", unavailable.retry_after
        )

    def _store_unavailable(self, unavailable: StoreUnavailable) -> Response:
        _log.warning("action=refuse reason=%s detail=%s", Reason.STORE_UNAVAILABLE, unavailable)
        return self._unavailable(Reason.STORE_UNAVAILABLE, "the store does not answer; send the events again", 1)

    def _unavailable(self, reason: Reason, message: str, retry_after: float) -> Response:
        response = self._json(503, error(reason, message))
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        return response

    def _http_error(self, problem: HTTPException) -> Response:
        status = problem.code or 500
        reason = _REASON_BY_STATUS.get(status, Reason.BAD_REQUEST if status < 500 else Reason.INTERNAL_ERROR)
        if request.path.startswith("/collect"):
            self._ledger.note(None, str(reason))
        response = self._json(status, error(reason, problem.description or problem.name))
        for name, value in problem.get_headers():
            if name in {"Allow", "Retry-After"}:
                response.headers[name] = value
        return response


@lru_cache(maxsize=256)
def _is_readable(content_type: str) -> bool:
    return parse_options_header(content_type)[0].lower() in _MEDIA_TYPES


def build_app(routes: Routes, trusted_proxies: int) -> Flask:
    """A Flask application with these routes."""
    app = Flask("ingest", static_folder=None)
    # A body without Content-Length is cut at this length without an error: the one byte more shows it was too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    # A redirect would lose a beacon.
    app.url_map.merge_slashes = False
    routes.add_to(app)
    if trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=0, x_host=0)  # type: ignore[method-assign]
    return app
