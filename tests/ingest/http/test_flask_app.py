"""The cache of routes changes no answer. Hooks, signals and URL building work as in any Flask application."""

from __future__ import annotations

import pytest
from blinker import NamedSignal
from flask import Flask, Response, after_this_request, request, session, url_for
from flask.signals import appcontext_tearing_down, request_finished, request_tearing_down

from ingest.http.answers import json_response
from ingest.http.flask_app import Application, RouteCache


def an_application() -> Flask:
    app = Application("test")
    app.url_map.merge_slashes = False
    app.add_url_rule("/here", "here", lambda: f"here {request.method}", methods=["GET", "POST"])
    app.add_url_rule("/things/<name>", "thing", lambda name: f"thing {name}")
    return app


@pytest.mark.parametrize("times", [1, 3])
def test_a_route_answers_the_same_each_time(times: int) -> None:
    """Found for the first time or known: method, values and refusals are what Flask makes of them."""
    app = an_application()
    client = app.test_client()
    for _ in range(times):
        assert client.get("/here").text == "here GET"
        assert client.post("/here").text == "here POST"
        assert client.head("/here").status_code == 200
        assert client.put("/here").status_code == 405
        assert set(client.options("/here").allow) == {"GET", "HEAD", "OPTIONS", "POST"}
        assert client.get("/things/a").text == "thing a"
        assert client.get("/things/b").text == "thing b"
        assert client.get("/elsewhere").status_code == 404


def test_the_cache_is_bounded_by_the_routes() -> None:
    """Clients make up paths; only routes without variable parts are cached, as they are written."""
    app = an_application()
    client = app.test_client()
    for number in range(50):
        client.get("/" * number + "here")
        client.get(f"/things/{number}")
        client.get(f"/elsewhere/{number}")
        client.open("/here", method=f"M{number}")
    assert isinstance(app.url_map, RouteCache)
    assert set(app.url_map.cached) == {("GET", "/here")}


def test_hooks_and_signals_of_flask_are_called() -> None:
    """Before, after and at the end of each request, whether its route is cached or not."""
    app = an_application()
    calls: list[str] = []

    def noted(response: Response) -> Response:
        calls.append("after")
        return response

    app.before_request(lambda: calls.append("before"))
    app.after_request(noted)
    app.teardown_request(lambda _: calls.append("teardown"))
    app.teardown_appcontext(lambda _: calls.append("context"))

    def finished(*_: object, **__: object) -> None:
        calls.append("signal")

    client = app.test_client()
    with request_finished.connected_to(finished, app):
        for _ in range(2):
            client.get("/here")
    assert calls == ["before", "after", "signal", "teardown", "context"] * 2


@pytest.mark.parametrize("signal", [request_tearing_down, appcontext_tearing_down])
def test_a_receiver_alone_is_called_at_the_end(signal: NamedSignal) -> None:
    """Without any teardown function, too."""
    app = an_application()
    calls: list[str] = []

    def noted(*_: object, **__: object) -> None:
        calls.append("end")

    with signal.connected_to(noted, app):
        app.test_client().get("/here")
    assert calls == ["end"]


@pytest.mark.parametrize("hook", ["before_request", "url_value_preprocessor", "after_request", "teardown_request"])
def test_a_hook_alone_is_called(hook: str) -> None:
    """Each kind by itself: nothing else is registered."""
    app = an_application()
    calls: list[str] = []

    def noted(*given: Response) -> Response | None:
        calls.append(hook)
        return given[0] if hook == "after_request" else None

    getattr(app, hook)(noted)
    app.test_client().get("/here")
    assert calls == [hook]


def test_a_hook_may_answer_and_a_view_may_ask_for_its_own_hook() -> None:
    """An answer of a hook replaces the view's; `after_this_request` works in views with a cached route."""
    app = Application("test")

    def view() -> str:
        @after_this_request
        def _(response: Response) -> Response:
            response.headers["X-Hook"] = "called"
            return response

        return "view"

    app.add_url_rule("/here", "here", view)
    app.before_request(lambda: "stopped" if request.args.get("stop") else None)
    client = app.test_client()
    client.get("/here")
    assert client.get("/here").headers["X-Hook"] == "called"
    assert client.get("/here?stop=1").text == "stopped"


def test_urls_can_be_built_in_a_request_with_a_cached_route() -> None:
    """Building a URL needs the host of the request: the cached route knows it."""
    app = an_application()
    app.add_url_rule("/link", "link", lambda: url_for("thing", name="a b", _external=True))
    client = app.test_client()
    for host in ("one.example", "two.example"):
        assert client.get("/link", base_url=f"https://{host}").text == f"https://{host}/things/a%20b"


def test_a_hook_may_change_a_json_answer() -> None:
    """Its body, its type, and headers: a header that the hook sets is there once."""
    app = Application("test")
    app.add_url_rule("/here", "here", lambda: json_response(200, {"a": 1}, [("X-One", "1"), ("X-Two", "2")]))

    @app.after_request
    def _(response: Response) -> Response:
        response.headers["x-one"] = "changed"
        response.headers["Cache-Control"] = "max-age=1"
        response.set_data(b'{"a": 1, "b": 2}')
        return response

    answer = app.test_client().get("/here")
    assert answer.get_json() == {"a": 1, "b": 2}
    assert sorted(answer.headers.items()) == [
        ("Cache-Control", "max-age=1"),
        ("Content-Length", "16"),
        ("Content-Type", "application/json"),
        ("X-Two", "2"),
        ("x-one", "changed"),
    ]
    assert app.test_client().head("/here").headers["Content-Length"] == "16"


def test_sessions_are_read_only() -> None:
    """Writing to a session raises an error."""
    app = Application("test")

    def write() -> str:
        assert session.get("x") is None
        session["x"] = 1
        return "written"

    app.add_url_rule("/write", "write", write)
    app.testing = True
    with pytest.raises(RuntimeError, match="session is unavailable"):
        app.test_client().get("/write")


def test_routes_by_host_are_not_cached() -> None:
    """With host matching a path does not say which route it is."""
    app = Application("test", host_matching=True, static_host="x")
    app.add_url_rule("/here", "one", lambda: "one", host="one.example")
    app.add_url_rule("/here", "two", lambda: "two", host="two.example")
    client = app.test_client()
    for host in ("one", "two", "one"):
        assert client.get("/here", base_url=f"http://{host}.example").text == host
