"""Stores that succeed at once and keep nothing, so that a benchmark sees the processor alone.

    InstantStore    takes the write requests as they are
    instant_dynamo  `DynamoStore` on a client that does nothing: every item is encoded and every statement built
    canned_dynamo   on the real client: every call is serialised and signed, too, and answered from memory

All know the visitors that are on the site when the benchmark begins (`Visitors`), and no counter.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from liveinsight.aws import botocore_codec
from liveinsight.aws.dynamodb import Dynamo, Item, key_item
from liveinsight.aws.dynamodb_store import DynamoStore
from liveinsight.aws.keys import visitor_key
from liveinsight.aws.schema import TableNames
from liveinsight.counting.counters import CounterItem
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.previews import CounterPreview, VisitorPreview
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.storage.store import (
    CounterWrite,
    DeadLetter,
    TimelineChunk,
    VisitorKey,
    VisitorWrite,
    Watermark,
    Written,
)

NAMES = TableNames.with_prefix("bench")

Visitors = dict[VisitorKey, bytes]
"""Encoded states."""


class NoCheckpoints:
    """A `Checkpointer` that keeps nothing."""

    def checkpoint(self, sequence_number: str) -> None:
        """As good as stored."""


class InstantStore:
    """A `ProcessorStore` that takes every write and keeps visitors alone."""

    def __init__(self, visitors: Visitors) -> None:
        self.visitors = dict(visitors)

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        return {}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        return Written()

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        return {key: decode_visitor(self.visitors[key]) for key in keys if key in self.visitors}

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        self.visitors.update({write.key: write.data for write in writes})
        return Written()

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        return None

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        return None

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        return None

    def write_watermark(self, watermark: Watermark) -> None:
        return None


def instant_dynamo(visitors: Visitors) -> DynamoStore:
    """The real store on a client that costs nothing."""
    client: Any = InstantClient(visitors)
    return DynamoStore(Dynamo(client), NAMES)


def canned_dynamo(visitors: Visitors) -> DynamoStore:
    """The real store on the real client, without the network."""
    client: Any = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, user_agent="LiveInsight"),
    )
    botocore_codec.install(client)
    client.meta.events.register("before-send.dynamodb", _Canned(visitors))
    return DynamoStore(Dynamo(client), NAMES)


class InstantClient:
    """What `Dynamo` needs of a boto3 client. It takes every write and keeps none."""

    def __init__(self, visitors: Visitors) -> None:
        self._items = dict(_items(visitors))

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        """The known visitors among the keys."""
        ((table, wanted),) = RequestItems.items()
        found = (self._items.get(key["pk"]["S"]) for key in wanted["Keys"])
        return {"Responses": {table: [item for item in found if item]}}

    def batch_write_item(self, **_: Any) -> dict[str, Any]:
        """Nothing is left over."""
        return {}

    def batch_execute_statement(self, *, Statements: list[Any]) -> dict[str, Any]:
        """Every condition holds."""
        return {"Responses": [{}] * len(Statements)}

    def put_item(self, **_: Any) -> dict[str, Any]:
        """The condition holds."""
        return {}


class _Canned:
    """Answers signed requests as DynamoDB would, with as little work as can be."""

    def __init__(self, visitors: Visitors) -> None:
        self._items = {
            name: json.dumps({**item, "s": {"B": base64.b64encode(item["s"]["B"]).decode()}})
            for name, item in _items(visitors)
        }

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        body = self._body(operation, request.body).encode()
        headers: Any = {"Content-Type": "application/x-amz-json-1.0"}
        raw: Any = _Raw(body)
        return AWSResponse(request.url, 200, headers, raw)

    def _body(self, operation: str, body: bytes) -> str:
        if operation == "BatchGetItem":
            ((table, wanted),) = json.loads(body)["RequestItems"].items()
            found = (self._items.get(key["pk"]["S"]) for key in wanted["Keys"])
            return f'{{"Responses": {{"{table}": [{", ".join(item for item in found if item)}]}}}}'
        if operation == "BatchExecuteStatement":
            verdicts = ", ".join(["{}"] * body.count(b'"Statement":'))
            return f'{{"Responses": [{verdicts}]}}'
        return "{}"


class _Raw:
    """A response body as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> list[bytes]:
        return [self._body]


def _items(visitors: Visitors) -> Iterator[tuple[str, Item]]:
    for key, state in visitors.items():
        name = visitor_key(*key)
        yield name[0], key_item(name) | {"s": {"B": state}}
