"""Metrics of all services, for Prometheus. None names a site, a visitor or an address.

In: events of a service, counted. Out: Prometheus' text format. Each metric is declared once, as an annotated field:
kind, name, unit, help and labels. A test compares docs/metrics.md with the declarations.

With `PROMETHEUS_MULTIPROC_DIR` set, each process keeps its numbers in files of that folder, and any process can render
the sum. Counts of ended processes stay in the sums; gauges of ended processes do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self, get_type_hints

from msgspec import Struct

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


class Metric(Struct, frozen=True):
    """The declaration of a metric."""

    name: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, of a histogram."""
    across_processes: str = "livesum"
    """How the values of several processes become one, of a gauge."""


class Declared(NamedTuple):
    """A metric as the documents list it."""

    field: str
    kind: str
    metric: Metric

    @property
    def sample(self) -> str:
        """The name that Prometheus shows."""
        return self.metric.name + ("_total" if self.kind == "counter" else "")


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
        for field, kind, metric in self.declared():
            setattr(self, field, _instrument(kind, metric, self._registry))

    @classmethod
    def from_environment(cls) -> Self:
        """Metrics in the folder that the environment names, or of this process only."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(folder) if folder else None)

    @classmethod
    def declared(cls) -> Iterator[Declared]:
        """The declarations, in their order."""
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

        kinds = {"Counter": Counter, "Gauge": Gauge, "Histogram": Histogram}
        hints = get_type_hints(cls, localns=kinds, include_extras=True)
        for field, hint in hints.items():
            yield Declared(field, hint.__origin__.__name__.lower(), hint.__metadata__[0])

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

    accepted: Annotated[
        Counter, Metric("liveinsight_ingest_accepted_events", "events", "Events that the stream has acknowledged.")
    ]
    refused: Annotated[
        Counter,
        Metric(
            "liveinsight_ingest_refused_events",
            "events",
            "Events and requests that were refused or deliberately not counted.",
            ("reason",),
        ),
    ]
    unavailable: Annotated[
        Counter,
        Metric(
            "liveinsight_ingest_unavailable_requests",
            "requests",
            "Requests that were answered 503: the client is to send them again.",
            ("reason",),
        ),
    ]
    waiting_requests: Annotated[
        Gauge, Metric("liveinsight_ingest_waiting_requests", "requests", "Requests that wait for the stream.")
    ]
    waiting_bytes: Annotated[
        Gauge, Metric("liveinsight_ingest_waiting_bytes", "bytes", "Bytes of events that wait for the stream.")
    ]
    call_records: Annotated[
        Histogram,
        Metric(
            "liveinsight_ingest_put_records_batch_records",
            "records",
            "Records of a PutRecords call.",
            buckets=_RECORDS,
        ),
    ]
    call_events: Annotated[
        Histogram,
        Metric(
            "liveinsight_ingest_put_records_batch_events",
            "events",
            "Events that went onto the stream together, without repeats.",
            buckets=_EVENTS,
        ),
    ]
    call_seconds: Annotated[
        Histogram,
        Metric(
            "liveinsight_ingest_put_records_seconds",
            "seconds",
            "How long a PutRecords call took, failed ones included.",
            buckets=_SECONDS,
        ),
    ]
    retried_records: Annotated[
        Counter,
        Metric(
            "liveinsight_ingest_put_records_retried_records",
            "records",
            "Records that were put again because the stream had not taken them.",
        ),
    ]
    failed_calls: Annotated[
        Counter,
        Metric("liveinsight_ingest_put_records_failed_calls", "calls", "PutRecords calls that failed as a whole."),
    ]


class WorkerMetrics(Metrics):
    """What the worker has processed, and how far it is behind."""

    records: Annotated[Counter, Metric("liveinsight_worker_records", "records", "Records read from the stream.")]
    events: Annotated[
        Counter, Metric("liveinsight_worker_folded_events", "events", "Events folded into visitors and counters.")
    ]
    skipped: Annotated[
        Counter,
        Metric(
            "liveinsight_worker_skipped_events",
            "events",
            "Events that were skipped because they are counted already: a replay after a restart.",
        ),
    ]
    dead_letters: Annotated[
        Counter,
        Metric("liveinsight_worker_dead_letter_records", "records", "Records that were kept as dead letters."),
    ]
    flush_seconds: Annotated[
        Histogram,
        Metric(
            "liveinsight_worker_flush_seconds",
            "seconds",
            "How long a flush took: of the fast counters, of previews, or of everything with a checkpoint.",
            ("flush",),
            buckets=_FLUSH_SECONDS,
        ),
    ]
    lag: Annotated[
        Gauge,
        Metric(
            "liveinsight_worker_lag_milliseconds",
            "milliseconds",
            "How far the shard's last read was behind the end of the stream.",
            ("shard",),
            across_processes="livemax",
        ),
    ]
    retries: Annotated[
        Counter,
        Metric(
            "liveinsight_worker_retries",
            "retries",
            "Steps that were repeated because the store was unavailable or another writer was active.",
        ),
    ]
    throttles: Annotated[
        Counter,
        Metric("liveinsight_worker_throttles", "throttles", "Throttled calls and statements.", ("service",)),
    ]


class ApiMetrics(Metrics):
    """Requests to the API, and what they cost to read."""

    requests: Annotated[
        Counter, Metric("liveinsight_api_requests", "requests", "Requests by their answer.", ("endpoint", "status"))
    ]
    request_seconds: Annotated[
        Histogram,
        Metric(
            "liveinsight_api_request_seconds",
            "seconds",
            "How long a request took.",
            ("endpoint",),
            buckets=_SECONDS,
        ),
    ]
    items_read: Annotated[
        Counter, Metric("liveinsight_api_read_items", "items", "Stored items read for answers.", ("endpoint",))
    ]


def _instrument(kind: str, metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415

    name, text, labels, unit = metric.name, metric.help, metric.labels, metric.unit
    if kind == "counter":
        return Counter(name, text, labels, unit=unit, registry=registry)
    if kind == "gauge":
        mode = metric.across_processes
        return Gauge(name, text, labels, unit=unit, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]
    return Histogram(name, text, labels, unit=unit, registry=registry, buckets=metric.buckets)


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
