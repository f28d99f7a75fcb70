"""The Flask application, without what ingest has no use for and each request would pay for.

Flask finds out the host that a request is for, as hosts may choose routes; opens a session; and looks whether a view is
a coroutine. Here routes depend on path and method, nobody has a session, and views are plain functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter


class NoSessions(SessionInterface):
    """One empty session for everybody, that nobody can write into."""

    _empty = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._empty


class Application(Flask):
    """A Flask application. None of its routes may answer with a redirect: that would need the host."""

    session_interface = NoSessions()

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return super().create_url_adapter(request)
        return MapAdapter(
            self.url_map,
            server_name="",
            script_name="/",
            subdomain="",
            url_scheme="http",
            path_info=request.path,
            default_method=request.method,
        )

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func
