"""Response headers of every answer: security headers and a request id.

In: any WSGI application. Out: one that adds the headers to every answer. It works on WSGI's list of headers, which
costs less than Flask's hooks.

A valid ``X-Request-Id`` of the request is kept, so that a proxy's log lines and those of ingest can be matched;
otherwise an id is made. No id has a dot or a colon, so no address gets into logs through it.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import has_request_context, request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    # No answer is a page: nothing may run or be framed.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    # Pages of other sites load the script and the image; cross-origin isolated pages only with this header.
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
REQUEST_ID = "X-Request-Id"
REQUEST_ID_KEY = "liveinsight.request_id"
"""The id's key in the WSGI environment."""
_VALID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class ResponseHeaders:
    """A WSGI application around another one.

    Args:
        app: the application that answers.
        new_id: makes 64 bits for an id.
    """

    def __init__(self, app: WSGIApplication, new_id: Callable[[], int] | None = None) -> None:
        self._app = app
        # Ids tell requests apart in logs; they need not be secret. Each process has its own seed.
        source = random.Random()
        self._new_id = new_id or (lambda: source.getrandbits(64))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID")
        chosen = given if given and _VALID.fullmatch(given) else f"{self._new_id():016x}"
        environ[REQUEST_ID_KEY] = chosen
        added = [*SECURITY_HEADERS, (REQUEST_ID, chosen)]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.extend(added)
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


def request_id() -> str:
    """The id of the current request; empty outside of one."""
    return str(request.environ.get(REQUEST_ID_KEY, "")) if has_request_context() else ""


class WithRequestId(logging.Filter):
    """Adds the id of the current request to log records. Filters nothing out."""

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context():
            record.request_id = request_id()
        return True


_filter = WithRequestId()


def add_request_ids(*loggers: logging.Logger) -> None:
    """Add the request's id to the records of these loggers. Idempotent."""
    for logger in loggers:
        logger.addFilter(_filter)
