"""The declarations of all metrics, and the endpoint that the worker serves them on."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from liveinsight.devstack.loopback import free_port
from liveinsight.model.errors import SettingsError
from liveinsight.runtime.metrics import ApiMetrics, IngestMetrics, Metrics, WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.wiring import serve_metrics

SERVICES = [IngestMetrics, WorkerMetrics, ApiMetrics]
UNITS = {"bytes", "calls", "events", "items", "milliseconds", "records", "requests", "retries", "seconds", "throttles"}


@pytest.mark.parametrize("service", SERVICES)
def test_names_begin_with_the_service_and_end_with_the_unit(service: type[Metrics]) -> None:
    """Prometheus' convention, so that a name says what is counted; each field has the instrument it declares."""
    metrics, prefix = service(), f"liveinsight_{service.__name__.removesuffix('Metrics').lower()}_"
    assert service.declared()
    for field, metric in service.declared():
        assert metric.name.startswith(prefix)
        assert metric.name.rpartition("_")[2] in UNITS
        assert metric.help.endswith(".")
        assert type(getattr(metrics, field)).__name__.lower() == metric.kind
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_names_are_unique() -> None:
    """Over all services: one Prometheus scrapes them all."""
    names = [metric.sample for service in SERVICES for _, metric in service.declared()]
    assert len(names) == len(set(names))


def test_metrics_are_served_on_the_port_of_the_settings() -> None:
    """Also when the numbers are in files of several processes; a port that is taken is an error of the settings."""
    port = free_port()
    settings = Settings(metrics_port=port)
    metrics = WorkerMetrics()
    metrics.records.inc(3)
    serve_metrics(settings, metrics)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert b"\nliveinsight_worker_records_total 3.0\n" in answer.read()
    with pytest.raises(SettingsError, match="LIVEINSIGHT_METRICS_PORT"):
        serve_metrics(settings, metrics)


def test_nothing_is_served_without_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default: no port is opened."""
    monkeypatch.setattr(WorkerMetrics, "serve", lambda *_: pytest.fail("a port was opened"))
    serve_metrics(Settings(), WorkerMetrics(Path("/nowhere")))
