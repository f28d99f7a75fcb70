"""Watchdog: has the server replace its workers when stalled request bodies hold half of a worker's threads.

A WSGI server calls the application when it has the headers, and reading the body blocks a thread for as long as the
client likes. Neither Granian nor gunicorn's threads have a deadline for bodies, and nothing can interrupt such a read.
A few hundred sockets that each send half a body would block a worker for good. The replacement takes new connections
while the old worker answers its other requests; then the server kills it, which closes the stalled connections. No
accepted event is lost: a client without an answer sends again. A proxy that buffers bodies keeps stalled ones away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from flask import request
from werkzeug.exceptions import ClientDisconnected

from ingest.contract.limits import MAX_BODY_BYTES
from liveinsight.runtime.wsgi_server import replace_workers

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 10.0
"""A body that takes longer than this is overdue."""
CHECK_SECONDS = 1.0
_LENGTH_DIGITS = len(str(MAX_BODY_BYTES))


class BodyWatchdog:
    """Reads the bodies of requests and counts those that are overdue. Thread safe.

    Args:
        max_overdue: calls `on_stall` when this many bodies are overdue at once.
        on_stall: makes room; called once.
        elapsed: monotonic time in seconds.
    """

    def __init__(
        self,
        max_overdue: int,
        on_stall: Callable[[], None] = replace_workers,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_overdue = max_overdue
        self._on_stall = on_stall
        self._elapsed = elapsed
        self._started: dict[int, float] = {}
        self._watching = False

    @property
    def reading(self) -> int:
        """Number of bodies that are being read now."""
        return len(self._started)

    def read(self, environ: Mapping[str, Any]) -> bytes:
        """The body of the current request.

        Raises:
            ClientDisconnected: the connection ended before the body did.
        """
        reader = threading.get_ident()
        self._started[reader] = self._elapsed()
        if not self._watching:
            # Here and not in the constructor: threads do not survive a fork.
            self._watching = True
            threading.Thread(target=self._watch, name="body-watchdog", daemon=True).start()
        try:
            return _read(environ)
        finally:
            del self._started[reader]

    def overdue(self) -> int:
        """Number of bodies that are overdue."""
        deadline = self._elapsed() - DEADLINE_SECONDS
        return sum(started < deadline for started in self._started.copy().values())

    def check(self) -> bool:
        """Whether too many bodies are overdue; if so, makes room."""
        overdue = self.overdue()
        if overdue < self._max_overdue:
            return False
        logger.critical("%d request bodies overdue; replacing workers", overdue, extra={"action": "replace_workers"})
        self._on_stall()
        return True

    def _watch(self) -> None:
        while not self.check():
            time.sleep(CHECK_SECONDS)


def _read(environ: Mapping[str, Any]) -> bytes:
    given = environ.get("CONTENT_LENGTH", "")
    sane = given.isascii() and given.isdecimal() and len(given) <= _LENGTH_DIGITS
    length = int(given) if sane else MAX_BODY_BYTES + 1
    if length > MAX_BODY_BYTES or "HTTP_TRANSFER_ENCODING" in environ:
        return request.get_data(cache=False)
    # Fast path: a body with a valid length needs none of Werkzeug's wrappers around the stream.
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) != length:
        raise ClientDisconnected()
    return body
