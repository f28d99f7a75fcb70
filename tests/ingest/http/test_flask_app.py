"""Routes are found by path and method, and those that were found are known from then on."""

from __future__ import annotations

from typing import Any

import pytest
from flask import request

from ingest.http.flask_app import Application


def an_application() -> Any:
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


def test_what_is_known_is_bounded_by_the_routes() -> None:
    """Clients make up paths; only routes that are nothing but their path are noted, as they are written."""
    app = an_application()
    client = app.test_client()
    for number in range(50):
        client.get("/" * number + "here")
        client.get(f"/things/{number}")
        client.get(f"/elsewhere/{number}")
        client.open("/here", method=f"M{number}")
    assert set(app._found) == {("GET", "/here")}
