"""Records that could not be decoded, as items of one partition. One that is larger than an item may be has parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liveinsight.aws.dynamodb import AFTER_ALL, PART_BYTES, Dynamo, Item, between, key_item, translated
from liveinsight.aws.keys import DEAD_LETTERS
from liveinsight.storage.store import DeadLetter, DeadLetterSummary

LAST_PART = 999


class DeadLetterItems:
    """The partition of the sessions table that holds them. Thread safe."""

    def __init__(self, dynamo: Dynamo, table: str) -> None:
        self._dynamo = dynamo
        self._table = table

    def write(self, records: Sequence[DeadLetter]) -> None:
        """See `ProcessorStore.write_dead_letters`."""
        items = []
        for record in records:
            parts = range(0, max(1, len(record.data)), PART_BYTES)
            for number, start in enumerate(parts):
                body = {
                    "shard": {"S": record.shard_id},
                    "reason": {"S": record.reason},
                    "message": {"S": record.message},
                    "data": {"B": record.data[start : start + PART_BYTES]},
                    "size": {"N": str(len(record.data))},
                    "number": {"N": str(number)},
                    "at": {"N": str(record.arrived_at)},
                    "ttl": {"N": str(record.expires_at)},
                }
                items.append(key_item((DEAD_LETTERS, _part_key(record.mark, number))) | body)
        self._dynamo.put(self._table, items)

    def summaries(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        """Summaries of the records after a mark."""
        names = ("sk", "shard", "reason", "at", "size")
        request = between(_part_key(after, LAST_PART), AFTER_ALL)
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in (*names, "number")}
        # Every record has one first part, and that alone tells all about it.
        request["FilterExpression"] = "#number = :first_part"
        request["range_values"][":first_part"] = {"N": "0"}
        request["ProjectionExpression"] = ", ".join(f"#{name}" for name in names)
        items = self._dynamo.query(self._table, DEAD_LETTERS, limit=limit, ConsistentRead=True, **request)
        return [
            DeadLetterSummary(
                item["shard"]["S"],
                item["sk"]["S"].rpartition("#")[0],
                item["reason"]["S"],
                int(item["at"]["N"]),
                int(item["size"]["N"]),
            )
            for item in items
        ]

    def load(self, mark: str) -> DeadLetter | None:
        """One record; None when not all of it is there."""
        parts = self._parts(mark)
        data = b"".join(part["data"]["B"] for part in parts)
        if not parts or len(data) != int(parts[0]["size"]["N"]):
            return None  # Still being written, or half deleted.
        first = parts[0]
        at, expires_at = int(first["at"]["N"]), int(first["ttl"]["N"])
        return DeadLetter(first["shard"]["S"], mark, first["reason"]["S"], first["message"]["S"], data, at, expires_at)

    def delete(self, marks: Sequence[str]) -> None:
        """Delete records."""
        for mark in marks:
            # The first part first: with it the record is gone, and the rest of it expires if we die here.
            for part in self._parts(mark, ProjectionExpression="pk, sk"):
                with translated():
                    self._dynamo.client.delete_item(TableName=self._table, Key=part)

    def _parts(self, mark: str, **request: Any) -> list[Item]:
        span = between(_part_key(mark, 0), _part_key(mark, LAST_PART))
        return self._dynamo.query(self._table, DEAD_LETTERS, ConsistentRead=True, **span, **request)


def _part_key(mark: str, number: int) -> str:
    return f"{mark}#{number:03d}"
