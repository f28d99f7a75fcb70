"""The Flask application: Flask with a cache of routes and without sessions.

Both use the class attributes that Flask has for this, and hooks that are registered are called: hooks, signals, error
handlers and URL building work as in any Flask application. The cache saves binding and matching a route for each
request. It holds only routes without variable parts, so its size is bounded by the application's own routes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, appcontext_tearing_down, request_tearing_down
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, RequestRedirect, Rule

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_METHODS = frozenset({"GET", "POST"})


class RouteCache(Map):
    """A Werkzeug map with a cache from (method, path) to the route. Thread safe once all routes are added."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cached: dict[tuple[str, str], Rule] = {}

    def bind_to_environ(
        self, environ: WSGIEnvironment | Any, server_name: str | None = None, subdomain: str | None = None
    ) -> MapAdapter:
        """The adapter of one request."""
        key = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if rule := self.cached.get(key):
            return _KnownRoute(rule, lambda: super(RouteCache, self).bind_to_environ(environ, server_name, subdomain))
        adapter = super().bind_to_environ(environ, server_name, subdomain)
        if key[0] in _METHODS and not self.host_matching:
            try:
                rule, values = adapter.match(return_rule=True)
            except (HTTPException, RequestRedirect):
                return adapter
            if rule.rule == key[1] and not values:
                self.cached[key] = rule
        return adapter


class _KnownRoute(MapAdapter):
    """The adapter of a request whose route is known. It is bound to the request when more than the route is asked."""

    def __init__(self, rule: Rule, bind: Callable[[], MapAdapter]) -> None:
        self._rule = rule
        self._bind = bind

    def match(self, *arguments: Any, **options: Any) -> Any:
        if arguments or options != {"return_rule": True}:
            return self._bind().match(*arguments, **options)
        return self._rule, {}

    def __getattr__(self, name: str) -> Any:
        # Reached for what `MapAdapter.__init__` would have set: building a URL needs it.
        return getattr(self._bind(), name)


class NoSessions(SessionInterface):
    """One read-only null session shared by all requests; writing to it raises `RuntimeError`."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """The shared null session."""
        return self._session


class Application(Flask):
    """A Flask application with cached routes and no sessions."""

    url_map_class = RouteCache
    session_interface = NoSessions()

    # Most of a request's time in Flask goes into looking for hooks. Each method below looks once whether there is any.

    def preprocess_request(self) -> ResponseReturnValue | None:
        return super().preprocess_request() if self.before_request_funcs or self.url_value_preprocessors else None

    def process_response(self, response: Response) -> Response:
        called = self.after_request_funcs or request_ctx._after_request_functions
        return super().process_response(response) if called else response

    def do_teardown_request(self, *exc: Any) -> None:
        if self.teardown_request_funcs or request_tearing_down.receivers:
            super().do_teardown_request(*exc)

    def do_teardown_appcontext(self, *exc: Any) -> None:
        if self.teardown_appcontext_funcs or appcontext_tearing_down.receivers:
            super().do_teardown_appcontext(*exc)
