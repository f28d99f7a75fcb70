"""The lease table of the Kinesis Client Library, as an operator wants to see it.

In: a DynamoDB client and the table's name. Out: leases by shard, or none when there is no such table. The table is
only read, never written: the library owns it. It holds a few rows a shard, so it may be scanned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.model.errors import StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

SHARD_PREFIX = "shardId-"
"""The library keeps other rows in the same table since 3.5; only leases are keyed by a shard."""


class Lease(NamedTuple):
    """A worker's right to a shard. No time is stored: an owner that is alive raises `counter` every few seconds."""

    owner: str
    counter: int
    checkpoint: str
    """A sequence number, `SHARD_END`, or a word such as ``TRIM_HORIZON`` when nothing was checkpointed yet."""


def read_leases(client: DynamoDBClient, table: str) -> dict[str, Lease]:
    """Leases by shard id; none when the table is not there, as without the library.

    Raises:
        StoreUnavailable: the table could not be read.
    """
    leases: dict[str, Lease] = {}
    request: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
    while True:
        try:
            answer = client.scan(**request)
        except client.exceptions.ResourceNotFoundException:
            return {}
        except (ClientError, BotoCoreError) as error:
            raise StoreUnavailable(f"lease table {table}: {error}") from error
        leases.update(_lease(item) for item in answer["Items"] if item["leaseKey"]["S"].startswith(SHARD_PREFIX))
        if not answer.get("LastEvaluatedKey"):
            return leases
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _lease(item: dict[str, Any]) -> tuple[str, Lease]:
    owner = item.get("leaseOwner", {}).get("S", "")
    counter = int(item.get("leaseCounter", {}).get("N", "0"))
    return item["leaseKey"]["S"], Lease(owner, counter, item.get("checkpoint", {}).get("S", ""))
