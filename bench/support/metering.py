"""A DynamoDB in memory that counts what it would charge, item by item.

By DynamoDB's rules: an item's size is that of its attribute names and values; a write costs a unit per started KB
of the larger of the old and the new item, also when its condition fails; a strongly consistent read costs a unit
per started 4 KB, half that if it is not, and a key without an item costs as much as a small item.
It does what `Dynamo` asks of a boto3 client. Conditions of statements are checked; those of single puts
(watermark, checkpoint) always hold when there is one worker, and are taken to.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from liveinsight.aws.dynamodb import Item
from liveinsight.aws.keys import previewing_shard
from liveinsight.counting.keys import LIVE, SEEN

WRITE_KB, READ_KB = 1024, 4096
KINDS = {"t#": "totals", "w#": "watermark", "v#": "visitor", "e#": "timeline", "c#": "checkpoint", "x#": "dead letter",
         "p#": "visitor preview"}  # fmt: skip
PREVIEWS = "preview"
LIVE_LIST = "live list"
"""Who was seen in a minute."""

_INSERTED = re.compile(r"'(\w+)': \?")
_UPDATED = re.compile(r'"(\w+)" = \?')


@dataclass
class Charge:
    """What one kind of item has cost."""

    writes: int = 0
    write_units: float = 0
    refused: int = 0
    bytes: int = 0
    read_units: float = 0


@dataclass
class Metering:
    """A replacement for a boto3 client, and its bill."""

    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    """By key; of timelines, which nobody reads here, only that they are there."""
    bill: dict[str, Charge] = field(default_factory=lambda: defaultdict(Charge))
    resized: Callable[[str, Item], Item] = lambda kind, item: item
    """What an item of a kind would be stored as: to try how another form of it would cost."""

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        """One table's items."""
        ((table, wanted),) = RequestItems.items()
        found = []
        for key in wanted["Keys"]:
            name = key["pk"]["S"], key["sk"]["S"]
            item = self.items.get(name)
            kind = kind_of(*name)
            units = units_of(size_of(self.resized(kind, item)), READ_KB) if item else 1
            self.bill[kind].read_units += units if wanted["ConsistentRead"] else units / 2
            if item:
                found.append(item)
        return {"Responses": {table: found}}

    def batch_write_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        """Unconditional puts."""
        for requests in RequestItems.values():
            for request in requests:
                self.put_item(Item=request["PutRequest"]["Item"])
        return {}

    def put_item(self, *, Item: Item, **_: Any) -> dict[str, Any]:
        """One put."""
        name = Item["pk"]["S"], Item["sk"]["S"]
        self._charge(name, Item)
        self.items[name] = {} if kind_of(*name) == "timeline" else Item
        return {}

    def batch_execute_statement(self, *, Statements: list[dict[str, Any]]) -> dict[str, Any]:
        """Inserts and conditional updates."""
        return {"Responses": [self._execute(s["Statement"], s["Parameters"]) for s in Statements]}

    def _execute(self, text: str, parameters: list[Any]) -> dict[str, Any]:
        if text.startswith("INSERT"):
            item: Item = dict(zip(_INSERTED.findall(text), parameters, strict=True))
            name = item["pk"]["S"], item["sk"]["S"]
            if name in self.items:
                return self._refuse(name, "DuplicateItem")
        else:
            assignments, condition = text.split(" WHERE ")
            *values, partition, sort, bound = parameters
            name = partition["S"], sort["S"]
            old = self.items.get(name)
            holds = old and (old["m"]["S"] < bound["S"] if '"m" <' in condition else old["m"]["S"] == bound["S"])
            if not old or not holds:
                return self._refuse(name, "ConditionalCheckFailed")
            item = old | dict(zip(_UPDATED.findall(assignments), values, strict=True))
        self._charge(name, item)
        self.items[name] = item
        return {}

    def _refuse(self, name: tuple[str, str], code: str) -> dict[str, Any]:
        charge = self.bill[kind_of(*name)]
        charge.refused += 1
        charge.write_units += units_of(size_of(self.items.get(name, {})), WRITE_KB)
        return {"Error": {"Code": code}}

    def _charge(self, name: tuple[str, str], new: Item) -> None:
        kind = kind_of(*name)
        old = self.items.get(name, {})
        size = max(size_of(self.resized(kind, old)) if old else 0, size_of(self.resized(kind, new)))
        charge = self.bill[kind]
        charge.writes += 1
        charge.bytes += size
        charge.write_units += units_of(size, WRITE_KB)


def kind_of(partition: str, sort: str) -> str:
    """What an item is, by its key; a dimension's and a minute's items are told apart."""
    if previewing_shard(sort):
        return PREVIEWS
    if partition.startswith("d#"):
        return f"dimension {partition.rpartition('#')[2]}"
    if partition.startswith("m#"):
        return {LIVE: "live minute", SEEN: LIVE_LIST}.get(partition.rpartition("#")[2], "minute")
    return KINDS[partition[:2]]


def units_of(size: int, unit: int) -> int:
    """Started units, at least one."""
    return max(1, -(-size // unit))


def size_of(item: Item) -> int:
    """Size of an item as DynamoDB counts it."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Any) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(content)
    if kind == "N":
        return len(content.lstrip("-").replace(".", "")) // 2 + 2
    assert kind == "BOOL", kind
    return 1


def with_sketch_of(size: int, body: bytes) -> bytes:
    """A counter's body as large as it would be with sketches of at most `size` bytes."""
    return msgspec.msgpack.encode(_with_sketch_of(size, *msgspec.msgpack.decode(body)))


def _with_sketch_of(
    size: int, measures: object, hours: object, sketch: bytes, beside: dict[str, Any] | None = None
) -> tuple[object, ...]:
    others = {name: _with_sketch_of(size, *other) for name, other in (beside or {}).items()}
    return measures, hours, sketch[:size], others
