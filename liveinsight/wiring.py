"""Builds the real stream and store from settings: what every composition root starts with."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from liveinsight.aws.clients import dynamodb_client, kinesis_client
from liveinsight.aws.dynamodb import Dynamo
from liveinsight.aws.dynamodb_store import DynamoStore
from liveinsight.aws.kinesis import KinesisStream
from liveinsight.aws.schema import TableNames
from liveinsight.aws.throttles import report_throttles
from liveinsight.model.clock import Clock
from liveinsight.model.errors import SettingsError
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory, SitesNow
from liveinsight.sites.repository import load_sites
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.generation_reader import GenerationalReader


def open_stream(settings: Settings, metrics: WorkerMetrics | None = None) -> KinesisStream:
    """The stream that `settings` name. Nothing is asked of it yet."""
    client = kinesis_client(settings)
    if metrics:
        report_throttles(client, metrics.throttles.labels("kinesis").inc)
    return KinesisStream(client, settings.stream_name)


def open_stream_for_requests(settings: Settings) -> KinesisStream:
    """As `open_stream`, for whoever has people waiting: it fails soon, and does not repeat calls by itself."""
    return KinesisStream(kinesis_client(settings, attempts=0, read_timeout=2.5), settings.stream_name)


def serve_metrics(settings: Settings, metrics: WorkerMetrics) -> None:
    """Serve the worker's metrics if `settings` name a port.

    Raises:
        SettingsError: the port is not free.
    """
    if settings.metrics_port:
        try:
            metrics.serve(settings.metrics_host, settings.metrics_port)
        except OSError as error:
            raise SettingsError(f"LIVEINSIGHT_METRICS_PORT={settings.metrics_port}: {error.strerror}") from error


def open_store(settings: Settings, *, parallel: int = 4) -> DynamoStore:
    """The store that `settings` name: the first generation's. Nothing is asked of it yet."""
    return open_generations(settings, parallel=parallel)(FIRST)


def open_generations(
    settings: Settings, *, parallel: int = 4, metrics: WorkerMetrics | None = None
) -> Callable[[int], DynamoStore]:
    """Gives the store of a generation of counters, whether or not its tables are there."""
    client = dynamodb_client(settings)
    if metrics:
        report_throttles(client, metrics.throttles.labels("dynamodb").inc)
    dynamo = Dynamo(client, parallel=parallel)

    @cache
    def open_generation(generation: int) -> DynamoStore:
        return DynamoStore(dynamo, TableNames.of_generation(settings.table_prefix, generation))

    return open_generation


def open_newest_store(settings: Settings) -> DynamoStore:
    """The store of the generation that the worker writes to now."""
    stores = open_generations(settings)
    return stores(load_pointer(stores(FIRST)).newest)


def open_sites(settings: Settings, clock: Clock) -> SiteDirectory:
    """Gives the sites as they are, or were a few seconds ago. Nothing is asked yet."""
    store = open_store(settings)
    return SiteDirectory(lambda: load_sites(store), clock)


def open_reader(settings: Settings, sites: SitesNow, clock: Clock) -> GenerationalReader:
    """Reads the counters of whichever generations are in use. Nothing is asked of them yet."""
    stores = open_generations(settings)
    return GenerationalReader(stores, lambda: load_pointer(stores(FIRST)), lambda: sites().zones, clock)
