"""The backend on AWS: Kinesis and DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.aws.clients import dynamodb_client, endpoint_of, kinesis_client, report_throttles
from liveinsight.aws.dynamodb import Dynamo
from liveinsight.aws.dynamodb_store import DynamoItems, DynamoStore
from liveinsight.aws.kcl_tables import lease_table, read_leases
from liveinsight.aws.kinesis import KinesisStream
from liveinsight.aws.schema import TableNames, create_all, create_tables, delete_tables, later_generations
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.storage.backend import Lease


class AwsBackend:
    """A `liveinsight.storage.backend.Backend`.

    Args:
        settings: region, endpoints, names.
        metrics: where throttled calls are counted.
    """

    def __init__(self, settings: Settings, metrics: WorkerMetrics | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self.store = cache(self._store)

    @property
    def place(self) -> str:
        return endpoint_of(self._settings, "dynamodb") or f"AWS in {self._settings.region}"

    def stream(self) -> KinesisStream:
        client = kinesis_client(self._settings)
        if self._metrics:
            report_throttles(client, self._metrics.throttles.labels("kinesis").inc)
        return KinesisStream(client, self._settings.stream_name)

    def stream_for_requests(self) -> KinesisStream:
        client = kinesis_client(self._settings, attempts=0, read_timeout=2.5)
        return KinesisStream(client, self._settings.stream_name)

    @cached_property
    def _dynamo(self) -> Dynamo:
        client = dynamodb_client(self._settings)
        if self._metrics:
            report_throttles(client, self._metrics.throttles.labels("dynamodb").inc)
        return Dynamo(client)

    def _store(self, generation: int) -> DynamoStore:
        return DynamoStore(self._dynamo, self._names(generation))

    def items(self, generation: int) -> DynamoItems:
        return DynamoItems(self._dynamo, self._names(generation))

    def check_version(self) -> None:
        """Tables have no version: items say what they are."""

    def create(self) -> Iterator[str]:
        settings = self._settings
        with self._answered():
            yield from create_all(
                kinesis_client(settings, attempts=5),
                dynamodb_client(settings, attempts=5),
                stream_name=settings.stream_name,
                shards=settings.shards,
                names=self._names(1),
                deletion_protection=settings.deletion_protection,
            )

    def create_generation(self, generation: int) -> Iterator[str]:
        protection = self._settings.deletion_protection
        with self._answered():
            yield from create_tables(
                dynamodb_client(self._settings, attempts=5), self._names(generation), deletion_protection=protection
            )

    def delete_generation(self, generation: int) -> Iterator[str]:
        with self._answered():
            yield from delete_tables(dynamodb_client(self._settings, attempts=5), self._names(generation))

    def later_generations(self) -> list[int]:
        with self._answered():
            return later_generations(dynamodb_client(self._settings, attempts=5), self._settings.table_prefix)

    def upkeep(self, now: int) -> Mapping[str, int]:
        # Kinesis trims its streams, DynamoDB deletes what has expired.
        return {}

    def disk_use(self, *, measure: bool) -> None:
        return None

    def leases(self, generation: int, table: str = "") -> dict[str, Lease]:
        name = table or lease_table(self._settings.table_prefix, generation)
        return read_leases(dynamodb_client(self._settings), name)

    def _names(self, generation: int) -> TableNames:
        return TableNames.of_generation(self._settings.table_prefix, generation)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise LiveInsightError(f"{self.place}: {error}") from error
