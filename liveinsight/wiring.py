"""Builds the stream, the store and their readers from settings, for the composition roots.

In: settings. Out: adapters to AWS. Nothing here makes a request, except where the docstring says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from liveinsight.aws.clients import dynamodb_client, kinesis_client, report_throttles
from liveinsight.aws.dynamodb import Dynamo
from liveinsight.aws.dynamodb_store import DynamoStore
from liveinsight.aws.kinesis import KinesisStream
from liveinsight.aws.schema import TableNames
from liveinsight.model.clock import Clock
from liveinsight.model.errors import SettingsError
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory, SitesNow
from liveinsight.sites.repository import load_sites
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.generation_reader import GenerationalReader


def open_stream(settings: Settings, metrics: WorkerMetrics | None = None) -> KinesisStream:
    """The stream."""
    client = kinesis_client(settings)
    if metrics:
        report_throttles(client, metrics.throttles.labels("kinesis").inc)
    return KinesisStream(client, settings.stream_name)


def open_stream_for_requests(settings: Settings) -> KinesisStream:
    """The stream, for servers whose clients wait: a call fails soon and is not retried."""
    return KinesisStream(kinesis_client(settings, attempts=0, read_timeout=2.5), settings.stream_name)


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


def open_store(settings: Settings, *, parallel: int = 4) -> DynamoStore:
    """The store of the first generation, which also holds sites, salts and the generation pointer."""
    return open_generations(settings, parallel=parallel)(FIRST)


def open_generations(
    settings: Settings, *, parallel: int = 4, metrics: WorkerMetrics | None = None
) -> Callable[[int], DynamoStore]:
    """Returns the store of a generation of counters, whether or not its tables exist."""
    client = dynamodb_client(settings)
    if metrics:
        report_throttles(client, metrics.throttles.labels("dynamodb").inc)
    dynamo = Dynamo(client, parallel=parallel)

    @cache
    def open_generation(generation: int) -> DynamoStore:
        return DynamoStore(dynamo, TableNames.of_generation(settings.table_prefix, generation))

    return open_generation


def open_newest_store(settings: Settings) -> DynamoStore:
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
