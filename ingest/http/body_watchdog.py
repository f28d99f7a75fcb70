"""Bodies that do not come: when they hold most threads of a process, it makes room by ending.

A WSGI server hands a request over when it has the headers, and reading the body blocks a thread for as long as the
client likes; neither Granian nor gunicorn's threads have a deadline for it, and nothing wakes such a thread. A few
hundred sockets that each send half a body would stop a process for good. A process that has ended is started again
within seconds, and the sockets are gone. Nothing is lost by it that was promised: requests under way get no answer, and
who gets none sends again. A proxy that reads bodies before it passes them on keeps all this away.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from flask import request
from werkzeug.exceptions import ClientDisconnected

from ingest.contract.limits import MAX_BODY_BYTES

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 10.0
"""Whoever sends 256 KB in more time than this is counted as slow."""
LOOKS_EVERY_SECONDS = 1.0
_LENGTH_DIGITS = len(str(MAX_BODY_BYTES))


def end_process() -> None:
    """At once: threads that are stuck would hold up any orderly end."""
    os._exit(1)


def _read_body() -> bytes:
    environ = request.environ
    given = environ.get("CONTENT_LENGTH", "")
    sane = given.isascii() and given.isdecimal() and len(given) <= _LENGTH_DIGITS
    length = int(given) if sane else MAX_BODY_BYTES + 1
    if length > MAX_BODY_BYTES or "HTTP_TRANSFER_ENCODING" in environ:
        return request.get_data(cache=False)
    # Nearly every body comes with a length that is fine: then Werkzeug's layers around the stream have nothing to do.
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) != length:
        raise ClientDisconnected()
    return body


class BodyWatch:
    """Reads the bodies of requests, and knows how many do not come. Thread safe.

    Args:
        most: bodies that may be overdue at once, before something is done.
        give_up: what is done.
        elapsed: a time that only goes on, in seconds.
    """

    def __init__(
        self, most: int, give_up: Callable[[], None] = end_process, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._give_up = give_up
        self._elapsed = elapsed
        self._since: dict[int, float] = {}
        self._looking = False

    def body(self) -> bytes:
        """The body of the request under way."""
        return self.watched(_read_body)

    def watched(self, read: Callable[[], bytes]) -> bytes:
        """What `read` gives; known to be under way until it has."""
        reader = threading.get_ident()
        self._since[reader] = self._elapsed()
        if not self._looking:
            # Here and not in the constructor: threads do not survive a fork.
            self._looking = True
            threading.Thread(target=self._look_for_ever, name="slow-bodies", daemon=True).start()
        try:
            return read()
        finally:
            del self._since[reader]

    def look(self) -> int:
        """How many bodies are overdue; gives up if that are too many."""
        began_before = self._elapsed() - DEADLINE_SECONDS
        overdue = sum(since < began_before for since in self._since.copy().values())
        if overdue >= self._most:
            logger.critical("%d request bodies overdue; exiting for respawn", overdue, extra={"action": "slow_bodies"})
            self._give_up()
        return overdue

    def _look_for_ever(self) -> None:
        while True:
            time.sleep(LOOKS_EVERY_SECONDS)
            self.look()
