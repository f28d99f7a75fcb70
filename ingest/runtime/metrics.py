"""Numbers about ingest itself, for Prometheus. None of them names a site, a visitor or an address.

With `PROMETHEUS_MULTIPROC_DIR` set, as `liveinsight ingest` sets it, each process keeps its numbers in files of that
folder, and whichever process is asked answers for all of them. Numbers of ended processes stay in the sums; gauges
of ended processes do not.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CALL_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0)
_CALL_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_CALL_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_LIVE_FILE = re.compile(r"gauge_live\w*_(\d+)\.db")


class Metrics:
    """One application's numbers. Thread safe. Each instance has a registry of its own.

    Args:
        folder: where processes share their numbers; None: this process is the only one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        # Prometheus' library decides while it is imported whether processes share their numbers. That must be in the
        # worker process: our command line sets the folder after this package was imported, and then forks.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram  # noqa: PLC0415

        self._folder = folder
        self._registry = registry = CollectorRegistry()
        self.accepted = Counter(
            "liveinsight_ingest_accepted_events", "Events that the stream has acknowledged.", registry=registry
        )
        self.refused = Counter(
            "liveinsight_ingest_refused_events",
            "Events and requests that were refused or deliberately not counted.",
            ["reason"],
            registry=registry,
        )
        self.unavailable = Counter(
            "liveinsight_ingest_unavailable_requests",
            "Requests that were answered 503: the client is to send them again.",
            ["reason"],
            registry=registry,
        )
        self.waiting_requests = Gauge(
            "liveinsight_ingest_waiting_requests",
            "Requests that wait for the stream.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.waiting_bytes = Gauge(
            "liveinsight_ingest_waiting_bytes",
            "Bytes of events that wait for the stream.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.call_records = Histogram(
            "liveinsight_ingest_put_records_batch_records",
            "Records of a PutRecords call.",
            buckets=_CALL_RECORDS,
            registry=registry,
        )
        self.call_events = Histogram(
            "liveinsight_ingest_put_records_batch_events",
            "Events that went onto the stream together, without repeats.",
            buckets=_CALL_EVENTS,
            registry=registry,
        )
        self.call_seconds = Histogram(
            "liveinsight_ingest_put_records_seconds",
            "How long a PutRecords call took, failed ones included.",
            buckets=_CALL_SECONDS,
            registry=registry,
        )
        self.retried_records = Counter(
            "liveinsight_ingest_put_records_retried_records",
            "Records that were put again because the stream had not taken them.",
            registry=registry,
        )
        self.failed_calls = Counter(
            "liveinsight_ingest_put_records_failed_calls", "PutRecords calls that failed as a whole.", registry=registry
        )

    def render(self) -> bytes:
        """All numbers, in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

        if self._folder is None:
            return generate_latest(self._registry)
        _forget_ended(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_ended(folder: Path) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    # A server that is killed has no time to say that its requests wait no longer.
    pids = {int(found[1]) for path in folder.glob("gauge_live*.db") if (found := _LIVE_FILE.fullmatch(path.name))}
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
