"""Builds the real stream and store from settings: what every composition root starts with."""

from __future__ import annotations

from liveinsight.aws import dynamodb_client, kinesis_client
from liveinsight.dynamo import Dynamo
from liveinsight.dynamo_store import DynamoStore
from liveinsight.kinesis import KinesisStream
from liveinsight.settings import Settings
from liveinsight.tables import TableNames


def open_stream(settings: Settings) -> KinesisStream:
    """The stream that `settings` name. Nothing is asked of it yet."""
    return KinesisStream(kinesis_client(settings), settings.stream_name)


def open_store(settings: Settings, *, parallel: int = 4) -> DynamoStore:
    """The store that `settings` name. Nothing is asked of it yet."""
    dynamo = Dynamo(dynamodb_client(settings), parallel=parallel)
    return DynamoStore(dynamo, TableNames.with_prefix(settings.table_prefix))
