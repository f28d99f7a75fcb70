"""Refusals: JSON, a fitting status and a stable reason; no request gets a 5xx."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, cast
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.http.endpoint_types import Endpoint
from api.http.endpoints import ENDPOINTS
from liveinsight.model.errors import StoreUnavailable
from liveinsight.settings import Settings
from liveinsight.storage.store import ReadStore
from liveinsight.testing.builders import FakeClock, MemoryStore

V1 = "/v1/sites/default"


LIVE = "use a whole number from 1 to 60"


@pytest.mark.parametrize(
    ("path", "reason", "message"),
    [
        (f"{V1}/totals?a=1", "unknown_parameter", "'a' is not known here, which takes period, from, to, compare"),
        ("/v1/sites?x=1", "unknown_parameter", "'x' is not known here, which takes no parameters"),
        (f"{V1}/totals?period=7d&period=30d", "repeated_parameter", "period is given 2 times; give it once"),
        (f"{V1}/live?minutes=0", "bad_parameter", f"minutes does not take '0'; {LIVE}"),
        (f"{V1}/live?minutes=61", "bad_parameter", f"minutes does not take '61'; {LIVE}"),
        (f"{V1}/live?minutes=", "bad_parameter", f"minutes does not take ''; {LIVE}"),
        (f"{V1}/live?minutes=%D9%A5", "bad_parameter", f"minutes does not take '\u0665'; {LIVE}"),
        (f"{V1}/breakdown?dimension=os&hours=1", "bad_parameter", "hours does not take '1'; use true or false"),
        (
            "/api/statistics/hourly?hours=169",
            "bad_parameter",
            "hours does not take '169'; use a whole number from 1 to 168",
        ),
    ],
)
def test_the_message_of_a_bad_request_names_the_fault_and_the_valid_values(
    refused: Callable[..., tuple[int, str, str]], path: str, reason: str, message: str
) -> None:
    """A stable word and a sentence."""
    assert refused(path) == (400, reason, message)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/v1/sites/nowhere/totals", "unknown_site"), ("/v2/sites", "not_found"), ("/assets/nothing.js", "not_found")],
)
def test_what_does_not_exist_is_a_404(refused: Callable[..., tuple[int, str, str]], path: str, reason: str) -> None:
    """Sites, addresses and files."""
    assert refused(path)[:2] == (404, reason)


@pytest.mark.parametrize("path", ["/api/sessions/active", f"{V1}/totals", "/"])
def test_other_methods_are_refused_with_those_that_work(client: FlaskClient, path: str) -> None:
    """Nothing can be changed here."""
    response = client.post(path)
    assert (response.status_code, response.get_json()["error"]["reason"]) == (405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]


def test_an_unavailable_store_is_a_503_with_retry_after(settings: Settings) -> None:
    """For every endpoint that reads; the process itself stays healthy."""

    class Down:
        def __getattr__(self, name: str) -> Callable[..., NoReturn]:
            def call(*_: object) -> NoReturn:
                raise StoreUnavailable("no answer")

            return call

    client = create_app(settings, cast("ReadStore", Down()), FakeClock()).test_client()
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{site}", "default").replace("{session_id}", "some")
        response = client.get(path + ("?dimension=page" if path.endswith("breakdown") else ""))
        if not endpoint.reads:
            assert response.status_code == 200
            continue
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert response.get_json()["error"]["reason"] == "store_unavailable"


def test_an_unexpected_failure_is_a_500_without_details(settings: Settings) -> None:
    """The details are for the log."""

    class Broken(MemoryStore):
        def read_watermarks(self) -> NoReturn:
            raise ZeroDivisionError("secret of the inside")

    response = create_app(settings, Broken(), FakeClock()).test_client().get("/v1/sites")
    assert (response.status_code, response.get_json()["error"]["reason"]) == (500, "internal")
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/sites", "/nowhere", f"{V1}/live?minutes=x"])
def test_every_answer_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    """Failures, too."""
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/healthz", "/v1/sites", "/api/sessions/active", "/v1/nowhere", f"{V1}/totals?x=1"])
def test_answers_are_never_cached(client: FlaskClient, path: str) -> None:
    """Each is as old as it says."""
    assert client.get(path).headers["Cache-Control"] == "no-store"


_NAMES = sorted({parameter.name for endpoint in ENDPOINTS for parameter in endpoint.parameters})
_TEXTS = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.dates().map(str),
    st.datetimes().map(lambda instant: instant.isoformat() + "Z"),
    st.datetimes(timezones=st.timezones()).map(lambda instant: instant.isoformat()),
    st.sampled_from(
        ["24h", "today", "7d", "12mo", "custom", "page", "exit_page", "15min", "hour", "day", "previous", "true"]
    ),
)
_QUERIES = st.lists(st.tuples(st.one_of(st.sampled_from(_NAMES), st.text(max_size=8)), _TEXTS), max_size=4)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ENDPOINTS), _QUERIES, st.sampled_from(["default", "berlin", ""]), st.text(max_size=12))
def test_no_query_string_or_path_gives_a_5xx(
    client: FlaskClient, endpoint: Endpoint, query: list[tuple[str, str]], site: str, session_id: str
) -> None:
    """Each is answered or refused with a reason."""
    path = endpoint.path.replace("{site}", quote(site)).replace("{session_id}", quote(session_id, safe=""))
    response = client.get(path, query_string=urlencode(query, errors="replace"))
    assert response.status_code in {200, 400, 404}
    if response.status_code != 200:
        assert sorted(response.get_json()["error"]) == ["message", "reason"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([endpoint.path for endpoint in ENDPOINTS]), st.binary(max_size=40))
def test_bytes_that_are_no_text_are_refused_or_ignored(client: FlaskClient, path: str, raw: bytes) -> None:
    """Neither a query string nor a path need be UTF-8."""
    path = path.replace("{site}", "default").replace("{session_id}", "s")
    text = raw.decode("latin-1")
    for environ in ({"QUERY_STRING": text}, {"PATH_INFO": path + text}, {"PATH_INFO": f"/assets/{text}.js"}):
        assert client.get(path, environ_overrides=environ).status_code in {200, 400, 404}


def test_empty_store_answers_everything(settings: Settings) -> None:
    """A new installation: zeros and empty lists, no failure."""
    client = create_app(settings, MemoryStore(), FakeClock()).test_client()
    expected = {"/v1/sites/{site}/sessions/{session_id}/events": 404}
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{site}", "default").replace("{session_id}", "some")
        response = client.get(path + ("?dimension=page" if path.endswith("breakdown") else ""))
        assert response.status_code == expected.get(endpoint.path, 200)
