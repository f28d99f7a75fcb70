"""GET /metrics of the API: requests by endpoint and status, their duration, and the items they read."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient


def samples(client: FlaskClient) -> dict[str, float]:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("liveinsight_api_"): float(number) for name, _, number in lines}


def test_requests_are_counted_by_endpoint_and_status(client: FlaskClient) -> None:
    """Labels are endpoints, never paths: no session or made-up path becomes a label."""
    totals = "/v1/sites/{site}/totals"
    read = sum(client.get("/v1/sites/default/totals").get_json()["meta"]["items_read"] for _ in range(2))
    client.get("/v1/sites/nowhere/totals")
    client.get("/secret-path")
    found = samples(client)
    assert found[f'requests_total{{endpoint="{totals}",status="200"}}'] == 2
    assert found[f'requests_total{{endpoint="{totals}",status="404"}}'] == 1
    assert found['requests_total{endpoint="none",status="404"}'] == 1
    assert found[f'request_seconds_count{{endpoint="{totals}"}}'] == 3
    assert found[f'read_items_total{{endpoint="{totals}"}}'] == read
    assert not [name for name in found if "secret" in name or "nowhere" in name]


def test_failure_inside_is_counted(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that ends in an error of ours has the status 500."""
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr("api.http.routes.freshness_of", lambda *_, **__: 1 / 0)
    assert client.get("/v1/sites/default/totals").status_code == 500
    assert samples(client)['requests_total{endpoint="/v1/sites/{site}/totals",status="500"}'] == 1
