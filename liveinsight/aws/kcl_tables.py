"""The tables of the Kinesis Client Library: their names, and the one row that we take away.

The library keeps leases and checkpoints in a table with the application's name, and what it knows of its workers in
two more that begin with it. They are its own: nothing of ours is ever written there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)


def lease_table(prefix: str, generation: int = 1) -> str:
    """The application's name and lease table: each generation of counters has been counted to a place of its own."""
    return f"{prefix}-kcl" if generation == 1 else f"{prefix}-kcl-g{generation}"


def coordinator_table(lease_table_name: str) -> str:
    """Where the library keeps its leader's lock."""
    return f"{lease_table_name}-CoordinatorState"


def give_up_leadership(client: DynamoDBClient, application: str, worker_id: str) -> bool:
    """Take away the leader's lock if it is this worker's, which is dead. Returns whether it was.

    One worker of a fleet assigns the shards to all. Its lock is a row in a table of the library; a daemon that ends in
    good order takes it away, one that crashed leaves it, and for two minutes nobody assigns anything.
    """
    try:
        client.delete_item(
            TableName=coordinator_table(application),
            Key={"key": {"S": "Leader"}},
            ConditionExpression="ownerName = :me",
            ExpressionAttributeValues={":me": {"S": worker_id}},
        )
    except ClientError as error:
        # Another worker leads, or the table was never made. The lock ends by itself, too.
        logger.debug("not the leader", extra={"action": "leadership", "problem": str(error)})
        return False
    except BotoCoreError as error:
        logger.warning("leadership not given up", extra={"action": "leadership", "problem": str(error)})
        return False
    logger.info("leadership given up", extra={"action": "leadership"})
    return True
