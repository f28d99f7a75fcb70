"""Measures every request to the API, and serves the metrics at /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, Response, g, request

from liveinsight.runtime.metrics import CONTENT_TYPE, ApiMetrics

PATH = "/metrics"
SUMMARY = "Metrics of the API, for Prometheus"
NO_ENDPOINT = "none"
"""Label of requests that match no endpoint: their paths are anybody's choice."""


def serve_metrics(app: Flask, metrics: ApiMetrics, elapsed: Callable[[], float] = time.perf_counter) -> None:
    """Register the endpoint, and count each request by endpoint and status."""

    def begin() -> None:
        g.began = elapsed()

    def count(response: Response) -> Response:
        endpoint = request.endpoint or NO_ENDPOINT
        metrics.requests.labels(endpoint, str(response.status_code)).inc()
        metrics.request_seconds.labels(endpoint).observe(elapsed() - g.began)
        return response

    app.before_request(begin)
    app.after_request(count)
    app.add_url_rule(PATH, PATH, lambda: Response(metrics.render(), content_type=CONTENT_TYPE), methods=["GET"])
