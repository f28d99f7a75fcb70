"""The Flask application, without what ingest has no use for and each request would pay for.

Flask finds out the host that a request is for, as hosts may choose routes; opens a session; looks whether a view is a
coroutine; and looks again and again whether functions are registered for something. Here routes depend on path and
method, nobody has a session, views are plain functions, and they are all there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import Map, MapAdapter, Rule


class NoSessions(SessionInterface):
    """One empty session for everybody, that nobody can write into."""

    _empty = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._empty


class _Finding(MapAdapter):
    """Looks for a route, and notes one that is nothing but its path: there are as many of these as we have made."""

    def __init__(self, found: dict[tuple[str, str], Rule], where: tuple[str, str], routes: Map) -> None:
        method, path = where
        super().__init__(
            routes,
            server_name="",
            script_name="/",
            subdomain="",
            url_scheme="http",
            path_info=path,
            default_method=method,
        )
        self._found = found
        self._where = where

    def match(self, *arguments: Any, **options: Any) -> Any:
        rule, values = super().match(*arguments, **options)
        method, path = self._where
        # Automatic answers to OPTIONS need the whole adapter.
        if isinstance(rule, Rule) and rule.rule == path and not values and method in {"GET", "POST"}:
            self._found[self._where] = rule
        return rule, values


class _Found(MapAdapter):
    """A route that was found before."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def match(self, *_: Any, **__: Any) -> Any:
        return self._rule, {}


class Application(Flask):
    """A Flask application. None of its routes may answer with a redirect: that would need the host.

    Functions registered for before or after a request, or for its end, are not called: what is to happen with every
    answer is a WSGI layer (`every_answer`).
    """

    session_interface = NoSessions()

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self._found: dict[tuple[str, str], Rule] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        where = request.method, request.path
        if rule := self._found.get(where):
            return _Found(rule)
        return _Finding(self._found, where, self.url_map)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def preprocess_request(self) -> None:
        return None

    def process_response(self, response: Response) -> Response:
        return response

    def do_teardown_request(self, exc: object = None) -> None:
        pass

    def do_teardown_appcontext(self, exc: object = None) -> None:
        pass
