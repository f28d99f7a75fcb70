"""Records that could not be decoded, as items of one partition. One that is larger than an item may be has parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liveinsight.aws.dynamodb import AFTER_ALL, PART_BYTES, Item, StoreTables, between, key_item, translated
from liveinsight.aws.keys import DEAD_LETTERS
from liveinsight.storage.store import DeadLetter, DeadLetterSummary

LAST_PART = 999


class DeadLetterItems(StoreTables):
    """The methods of a `Store` about dead letters. Thread safe."""

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
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
        self._dynamo.put(self._sessions, items)

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        names = ("sk", "shard", "reason", "at", "size")
        request = between(_part_key(after, LAST_PART), AFTER_ALL)
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in (*names, "number")}
        # Every record has one first part, and that alone tells all about it.
        request["FilterExpression"] = "#number = :first_part"
        request["range_values"][":first_part"] = {"N": "0"}
        request["ProjectionExpression"] = ", ".join(f"#{name}" for name in names)
        items = self._dynamo.query(self._sessions, DEAD_LETTERS, limit=limit, ConsistentRead=True, **request)
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

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        parts = self._parts(mark)
        data = b"".join(part["data"]["B"] for part in parts)
        if not parts or len(data) != int(parts[0]["size"]["N"]):
            return None  # Still being written, or half deleted.
        first = parts[0]
        at, expires_at = int(first["at"]["N"]), int(first["ttl"]["N"])
        return DeadLetter(first["shard"]["S"], mark, first["reason"]["S"], first["message"]["S"], data, at, expires_at)

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        for mark in marks:
            # The first part first: with it the record is gone, and the rest of it expires if we die here.
            for part in self._parts(mark, ProjectionExpression="pk, sk"):
                with translated():
                    self._dynamo.client.delete_item(TableName=self._sessions, Key=part)

    def _parts(self, mark: str, **request: Any) -> list[Item]:
        span = between(_part_key(mark, 0), _part_key(mark, LAST_PART))
        return self._dynamo.query(self._sessions, DEAD_LETTERS, ConsistentRead=True, **span, **request)


def _part_key(mark: str, number: int) -> str:
    return f"{mark}#{number:03d}"
