"""Metrics of all services, for Prometheus. None names a site, a visitor or an address.

In: numbers that a service counts. Out: Prometheus' text format. Each metric is declared once, as a field of its
service's class. A test compares docs/metrics.md with the declarations.

With `PROMETHEUS_MULTIPROC_DIR` set, each process keeps its numbers in files of that folder, and any process can render
the sum. Counts of ended processes stay in the sums; gauges of ended processes do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.metrics_core import Metric as Sampled

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0)
_FLUSH_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_LIVE_FILE = re.compile(r"gauge_live\w*_(\d+)\.db")


@dataclass(frozen=True)
class Metric:
    """The declaration of a metric. The last word of its name is its unit."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, of a histogram."""
    across_processes: str = ""
    """How the values of several processes become one, of a gauge."""

    @property
    def sample(self) -> str:
        """The name that Prometheus shows."""
        return self.name + ("_total" if self.kind == "counter" else "")


# A declaration has the type of the instrument that an instance has in its place.
def _counter(name: str, text: str, *labels: str) -> Counter:
    return cast("Counter", Metric("counter", name, text, labels))


def _gauge(name: str, text: str, *labels: str, across_processes: str = "livesum") -> Gauge:
    return cast("Gauge", Metric("gauge", name, text, labels, across_processes=across_processes))


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return cast("Histogram", Metric("histogram", name, text, labels, buckets))


class Metrics:
    """Base of the metrics of one service. Thread safe. Each instance has a registry of its own.

    Args:
        folder: where processes share their numbers; None: this process is the only one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        # prometheus_client decides while it is imported whether processes share their numbers. That must be in the
        # worker process: the command line sets the folder after this module was imported, and then forks.
        from prometheus_client import CollectorRegistry  # noqa: PLC0415

        self._folder = folder
        self._registry = CollectorRegistry()
        for field, metric in self.declared():
            setattr(self, field, _instrument(metric, self._registry))

    @classmethod
    def from_environment(cls) -> Self:
        """Metrics in the folder that the environment names, or of this process only."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder) if folder else None)

    @classmethod
    def declared(cls) -> list[tuple[str, Metric]]:
        """The declarations by field, in their order."""
        return [(field, value) for field, value in vars(cls).items() if isinstance(value, Metric)]

    def render(self) -> bytes:
        """All numbers, in Prometheus' text format."""
        from prometheus_client import generate_latest  # noqa: PLC0415

        return generate_latest(self._registry if self._folder is None else _shared_registry(self._folder))

    def serve(self, host: str, port: int) -> None:
        """Serve the numbers at `http://host:port/metrics`, from a thread of this process."""
        from prometheus_client import start_http_server  # noqa: PLC0415

        start_http_server(port, host, self._registry if self._folder is None else _shared_registry(self._folder))


class IngestMetrics(Metrics):
    """What became of events and requests at ingest."""

    accepted = _counter("liveinsight_ingest_accepted_events", "Events that the stream has acknowledged.")
    refused = _counter(
        "liveinsight_ingest_refused_events",
        "Events and requests that were refused or deliberately not counted.",
        "reason",
    )
    unavailable = _counter(
        "liveinsight_ingest_unavailable_requests",
        "Requests that were answered 503: the client is to send them again.",
        "reason",
    )
    waiting_requests = _gauge("liveinsight_ingest_waiting_requests", "Requests that wait for the stream.")
    waiting_bytes = _gauge("liveinsight_ingest_waiting_bytes", "Bytes of events that wait for the stream.")
    call_records = _histogram(
        "liveinsight_ingest_put_records_batch_records", "Records of a PutRecords call.", buckets=_RECORDS
    )
    call_events = _histogram(
        "liveinsight_ingest_put_records_batch_events",
        "Events that went onto the stream together, without repeats.",
        buckets=_EVENTS,
    )
    call_seconds = _histogram(
        "liveinsight_ingest_put_records_seconds",
        "How long a PutRecords call took, failed ones included.",
        buckets=_SECONDS,
    )
    retried_records = _counter(
        "liveinsight_ingest_put_records_retried_records",
        "Records that were put again because the stream had not taken them.",
    )
    failed_calls = _counter("liveinsight_ingest_put_records_failed_calls", "PutRecords calls that failed as a whole.")


class WorkerMetrics(Metrics):
    """What the worker has processed, and how far it is behind."""

    records = _counter("liveinsight_worker_records", "Records read from the stream.")
    events = _counter("liveinsight_worker_folded_events", "Events folded into visitors and counters.")
    skipped = _counter(
        "liveinsight_worker_skipped_events",
        "Events that were skipped because they are counted already: a replay after a restart.",
    )
    dead_letters = _counter("liveinsight_worker_dead_letter_records", "Records that were kept as dead letters.")
    flush_seconds = _histogram(
        "liveinsight_worker_flush_seconds",
        "How long a flush took: of the fast counters, of previews, or of everything with a checkpoint.",
        "flush",
        buckets=_FLUSH_SECONDS,
    )
    lag = _gauge(
        "liveinsight_worker_lag_milliseconds",
        "How far the shard's last read was behind the end of the stream.",
        "shard",
        across_processes="livemax",
    )
    retries = _counter(
        "liveinsight_worker_retries",
        "Steps that were repeated because the store was unavailable or another writer was active.",
    )
    throttles = _counter("liveinsight_worker_throttles", "Throttled calls and statements.", "service")


class ApiMetrics(Metrics):
    """Requests to the API, and what they cost to read."""

    requests = _counter("liveinsight_api_requests", "Requests by their answer.", "endpoint", "status")
    request_seconds = _histogram(
        "liveinsight_api_request_seconds", "How long a request took.", "endpoint", buckets=_SECONDS
    )
    items_read = _counter("liveinsight_api_read_items", "Stored items read for answers.", "endpoint")


def _instrument(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

    if metric.kind == "counter":
        return Counter(metric.name, metric.help, metric.labels, registry=registry)
    if metric.kind == "gauge":
        mode: Any = metric.across_processes
        return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=mode)
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)


def _shared_registry(folder: Path) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(_SharedNumbers(folder))
    return registry


class _SharedNumbers:
    """A Prometheus collector of the numbers of all processes in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Sampled]:
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

        _forget_ended(self._folder)
        found: Iterable[Sampled] = MultiProcessCollector(None, path=str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return found


def _forget_ended(folder: Path) -> None:
    """Drop the gauges of ended processes: a killed process cannot do that itself."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    pids = {int(found[1]) for path in folder.glob("gauge_live*.db") if (found := _LIVE_FILE.fullmatch(path.name))}
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
