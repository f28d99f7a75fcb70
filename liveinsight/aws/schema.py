"""The stream and the two tables, defined once: for `liveinsight init`, for tests and for deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_kinesis import KinesisClient

TTL_ATTRIBUTE = "ttl"


@dataclass(frozen=True)
class TableNames:
    """Names of the two tables."""

    counters: str
    sessions: str

    @classmethod
    def with_prefix(cls, prefix: str) -> TableNames:
        """``<prefix>-counters`` and ``<prefix>-sessions``."""
        return cls(f"{prefix}-counters", f"{prefix}-sessions")

    @classmethod
    def of_generation(cls, prefix: str, generation: int) -> TableNames:
        """The tables of a generation of counters: those of `with_prefix` are the first."""
        first = cls.with_prefix(prefix)
        if generation == 1:
            return first
        return cls(f"{first.counters}-g{generation}", f"{first.sessions}-g{generation}")


def table_definitions(names: TableNames, *, deletion_protection: bool) -> list[dict[str, Any]]:
    """Arguments of CreateTable for each table."""
    common: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": deletion_protection,
    }
    return [{"TableName": name, **common} for name in (names.counters, names.sessions)]


def create_all(
    kinesis: KinesisClient,
    dynamodb: DynamoDBClient,
    *,
    stream_name: str,
    shards: int,
    names: TableNames,
    deletion_protection: bool,
) -> Iterator[str]:
    """Create missing resources and correct the settings of existing ones; yields what was done, line by line.

    Safe to run again at any time. An existing stream keeps its shards.
    """
    yield _create_stream(kinesis, stream_name, shards)
    yield from create_tables(dynamodb, names, deletion_protection=deletion_protection)


def create_tables(dynamodb: DynamoDBClient, names: TableNames, *, deletion_protection: bool) -> Iterator[str]:
    """The tables' part of `create_all`."""
    for definition in table_definitions(names, deletion_protection=deletion_protection):
        yield _create_table(dynamodb, definition)
    for name in (names.counters, names.sessions):
        _ensure_ttl(dynamodb, name)
    yield f"expiry is on for both tables (attribute {TTL_ATTRIBUTE})"


def delete_tables(dynamodb: DynamoDBClient, names: TableNames) -> Iterator[str]:
    """Delete both tables for good, protected ones too; yields what was done, line by line. Safe to run again."""
    for name in (names.counters, names.sessions):
        try:
            if dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled", False):
                dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
                dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
            dynamodb.delete_table(TableName=name)
        except dynamodb.exceptions.ResourceNotFoundException:
            yield f"table {name} is not there"
            continue
        dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        yield f"table {name} deleted"


def later_generations(dynamodb: DynamoDBClient, prefix: str) -> list[int]:
    """The generations above the first that have at least one table, in order."""
    pattern = re.compile(re.escape(prefix) + r"-(?:counters|sessions)-g([1-9][0-9]*)")
    request: dict[str, Any] = {}
    found: set[int] = set()
    while True:
        answer = dynamodb.list_tables(**request)
        matches = [pattern.fullmatch(name) for name in answer["TableNames"]]
        found.update(int(match[1]) for match in matches if match)
        if not answer.get("LastEvaluatedTableName"):
            return sorted(found)
        request["ExclusiveStartTableName"] = answer["LastEvaluatedTableName"]


def _create_stream(kinesis: KinesisClient, name: str, shards: int) -> str:
    try:
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        line = f"stream {name} created with {shards} shards"
    except kinesis.exceptions.ResourceInUseException:
        line = f"stream {name} is there"
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    return line


def _create_table(dynamodb: DynamoDBClient, definition: dict[str, Any]) -> str:
    name = definition["TableName"]
    protection = definition["DeletionProtectionEnabled"]
    try:
        dynamodb.create_table(**definition)
        line = f"table {name} created"
    except dynamodb.exceptions.ResourceInUseException:
        line = f"table {name} is there"
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    described = dynamodb.describe_table(TableName=name)["Table"]
    if described.get("DeletionProtectionEnabled", False) != protection:
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=protection)
        line += f", deletion protection {'on' if protection else 'off'}"
    return line


def _ensure_ttl(dynamodb: DynamoDBClient, name: str) -> None:
    described = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if described.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}:
        return
    try:
        dynamodb.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
        )
    except ClientError as error:
        # Another `init` at the same time has switched it on.
        if "already enabled" not in str(error):
            raise
