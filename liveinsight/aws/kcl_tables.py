"""The tables of the Kinesis Client Library: their names, the leases in them, and the leader's lock.

In: a DynamoDB client and the application's name. Out: leases by shard. The library keeps leases and checkpoints in a
table with the application's name, and data about its workers in two more that begin with it. They belong to the
library: nothing is written to them, and only the lock of a dead leader is deleted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.model.errors import StoreUnavailable
from liveinsight.storage.backend import Lease

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)

SHARD_PREFIX = "shardId-"
"""The library keeps other rows in the same table since 3.5; only leases are keyed by a shard."""


def lease_table(prefix: str, generation: int = 1) -> str:
    """The application's name and lease table: each generation of counters has its own checkpoints."""
    return f"{prefix}-kcl" if generation == 1 else f"{prefix}-kcl-g{generation}"


def coordinator_table(lease_table_name: str) -> str:
    """The table of the leader's lock."""
    return f"{lease_table_name}-CoordinatorState"


def give_up_leadership(client: DynamoDBClient, application: str, worker_id: str) -> bool:
    """Delete the leader's lock if it is that of this dead worker. Returns whether it was.

    One worker of a fleet assigns the shards to all. Its lock is a row in a table of the library. A daemon that drains
    deletes it; one that crashed leaves it, and no shard is assigned for two minutes.
    """
    try:
        client.delete_item(
            TableName=coordinator_table(application),
            Key={"key": {"S": "Leader"}},
            ConditionExpression="ownerName = :me",
            ExpressionAttributeValues={":me": {"S": worker_id}},
        )
    except ClientError as error:
        # Another worker leads, or there is no table. The lock expires anyway.
        logger.debug("not the leader", extra={"action": "leadership", "problem": str(error)})
        return False
    except BotoCoreError as error:
        logger.warning("leadership not given up", extra={"action": "leadership", "problem": str(error)})
        return False
    logger.info("leadership given up", extra={"action": "leadership"})
    return True


def read_leases(client: DynamoDBClient, table: str) -> dict[str, Lease]:
    """Leases by shard id; empty if there is no table, as without the library.

    Raises:
        StoreUnavailable: the table could not be read.
    """
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    try:
        items = [item for page in pages for item in page["Items"]]
    except client.exceptions.ResourceNotFoundException:
        return {}
    except (ClientError, BotoCoreError) as error:
        raise StoreUnavailable(f"lease table {table}: {error}") from error
    return dict(_lease(item) for item in items if item["leaseKey"]["S"].startswith(SHARD_PREFIX))


def _lease(item: dict[str, Any]) -> tuple[str, Lease]:
    owner = item.get("leaseOwner", {}).get("S", "")
    counter = int(item.get("leaseCounter", {}).get("N", "0"))
    return item["leaseKey"]["S"], Lease(owner, counter, item.get("checkpoint", {}).get("S", ""))
