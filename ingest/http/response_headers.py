"""What every answer of ingest carries: headers that keep browsers careful, and a request id.

In: any WSGI application. Out: one that adds the headers, whatever it answers. It works on the list of headers as it is,
because everything here is paid for by each request.

The id is taken over from ``X-Request-Id`` if it looks like one, so that a proxy's log and ours can be laid side by
side; otherwise it is made. No id has a dot or a colon: nothing that looks like an address gets into logs through it.
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
    # Nothing that ingest answers is a page: it runs nothing, and is framed nowhere.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    # Script and image are there for other sites' pages; those that isolate themselves load them only with this.
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
REQUEST_ID = "X-Request-Id"
REQUEST_ID_KEY = "liveinsight.request_id"
"""Under which the id stands in the WSGI environment."""
_SANE = re.compile(r"[A-Za-z0-9_-]{8,64}")


class EveryAnswer:
    """A WSGI application around another one.

    Args:
        app: the one that answers.
        new_id: 64 bits for an id.
    """

    def __init__(self, app: WSGIApplication, new_id: Callable[[], int] | None = None) -> None:
        self._app = app
        # To tell requests apart in logs, not to keep anything secret. Each process has a seed of its own.
        source = random.Random()
        self._new_id = new_id or (lambda: source.getrandbits(64))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID")
        chosen = given if given and _SANE.fullmatch(given) else f"{self._new_id():016x}"
        environ[REQUEST_ID_KEY] = chosen
        added = [*SECURITY_HEADERS, (REQUEST_ID, chosen)]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.extend(added)
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


def request_id() -> str:
    """The id of the request under way; empty outside of one."""
    return str(request.environ.get(REQUEST_ID_KEY, "")) if has_request_context() else ""


class WithRequestId(logging.Filter):
    """Adds the id to log lines that are written while a request is answered. Lets every line through."""

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context():
            record.request_id = request_id()
        return True


_filter = WithRequestId()


def add_request_ids(*loggers: logging.Logger) -> None:
    """Have these loggers' lines carry the request's id. Safe to repeat."""
    for logger in loggers:
        logger.addFilter(_filter)
