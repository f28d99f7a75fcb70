"""Builds the backend, its stream and store, and their readers from settings, for the composition roots.

In: settings. Out: adapters to AWS or SQLite. Nothing here makes a request, except where the docstring says so. The
adapters are imported when they are chosen: a program on one machine never loads boto3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import SettingsError
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory, SitesNow
from liveinsight.sites.repository import load_sites
from liveinsight.storage.backend import Backend
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.generation_reader import GenerationalReader
from liveinsight.storage.store import Store
from liveinsight.storage.stream import Stream


def open_backend(settings: Settings, metrics: WorkerMetrics | None = None) -> Backend:
    """The backend that the settings name. With `metrics`, throttled calls to AWS are counted."""
    if settings.on_aws:
        from liveinsight.aws.backend import AwsBackend  # noqa: PLC0415

        return AwsBackend(settings, metrics)
    from liveinsight.sqlite.backend import SqliteBackend  # noqa: PLC0415

    return SqliteBackend(settings, system_clock)


def open_stream(settings: Settings, metrics: WorkerMetrics | None = None) -> Stream:
    """The stream."""
    return open_backend(settings, metrics).stream()


def open_stream_for_requests(settings: Settings) -> Stream:
    """The stream, for servers whose clients wait: a call fails soon and is not retried."""
    return open_backend(settings).stream_for_requests()


def serve_metrics(settings: Settings, metrics: WorkerMetrics) -> None:
    """Serve the metrics of a worker, if a port is set.

    Raises:
        SettingsError: the port is not free.
    """
    if settings.metrics_port:
        try:
            metrics.serve(settings.metrics_host, settings.metrics_port)
        except OSError as error:
            raise SettingsError(f"LIVEINSIGHT_METRICS_PORT={settings.metrics_port}: {error.strerror}") from error


def open_store(settings: Settings) -> Store:
    """The store of the first generation, which also holds sites, salts and the generation pointer."""
    return open_generations(settings)(FIRST)


def open_generations(settings: Settings, *, metrics: WorkerMetrics | None = None) -> Callable[[int], Store]:
    """Returns the store of a generation of counters, whether or not its tables exist."""
    return cache(open_backend(settings, metrics).store)


def open_newest_store(settings: Settings) -> Store:
    """The store of the generation that the worker writes to. Reads the generation pointer."""
    stores = open_generations(settings)
    return stores(load_pointer(stores(FIRST)).newest)


def open_sites(settings: Settings, clock: Clock) -> SiteDirectory:
    """The sites, at most a few seconds old."""
    store = open_store(settings)
    return SiteDirectory(lambda: load_sites(store), clock)


def open_reader(settings: Settings, sites: SitesNow, clock: Clock) -> GenerationalReader:
    """Reads the counters of all generations that are shown."""
    stores = open_generations(settings)
    return GenerationalReader(stores, lambda: load_pointer(stores(FIRST)), lambda: sites().zones, clock)
