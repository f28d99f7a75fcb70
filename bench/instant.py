"""Stores that succeed at once and keep nothing, so that a benchmark sees the processor alone.

    InstantStore    takes the write requests as they are
    instant_dynamo  `DynamoStore` on top of nothing: every item is encoded and every statement built
    canned_dynamo   with boto3 below: every request is serialised and signed, and answered from memory

All know the visitors that are on the site when the benchmark begins (`Visitors`), and no counter.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from liveinsight.counters import CounterItem
from liveinsight.dynamo import Dynamo, Item, Statement, Verdicts, key_item
from liveinsight.dynamo_store import DynamoStore
from liveinsight.fold import CounterKey
from liveinsight.keys import Key, visitor_key
from liveinsight.sessions import VisitorState, decode_visitor
from liveinsight.store import CounterWrite, SetAside, TimelineChunk, VisitorKey, VisitorWrite, Watermark, Written
from liveinsight.tables import TableNames

STATEMENT = b'"Statement": '
NAMES = TableNames.with_prefix("bench")

Visitors = dict[VisitorKey, bytes]
"""Encoded states."""


class NoCheckpoints:
    """A `Checkpointer` that keeps nothing."""

    def checkpoint(self, sequence_number: str) -> None:
        """As good as stored."""


class InstantStore:
    """A `ProcessorStore` that takes every write and keeps none."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        return {}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        return Written()

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        return {key: decode_visitor(self._visitors[key]) for key in keys if key in self._visitors}

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        return Written()

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        return None

    def write_set_aside(self, records: Sequence[SetAside]) -> None:
        return None

    def write_watermark(self, watermark: Watermark) -> None:
        return None


class InstantDynamo(Dynamo):
    """Takes every call and keeps nothing. Neither a client nor threads are needed."""

    def __init__(self, visitors: Visitors) -> None:
        self._items = _items(visitors)

    def get(self, table: str, keys: Sequence[Key], *, consistent: bool) -> list[Item]:
        return [self._items[key] for key in keys if key in self._items]

    def put(self, table: str, items: Sequence[Item]) -> None:
        return None

    def execute(self, statements: Sequence[Statement]) -> Verdicts:
        return Verdicts([], [])


def instant_dynamo(visitors: Visitors) -> DynamoStore:
    """The real store on a database that costs nothing."""
    return DynamoStore(InstantDynamo(visitors), NAMES)


def canned_dynamo(visitors: Visitors) -> DynamoStore:
    """The real store on the real client, without the network."""
    return DynamoStore(Dynamo(_canned_client(visitors)), NAMES)


def _items(visitors: Visitors) -> dict[Key, Item]:
    return {visitor_key(*key): key_item(visitor_key(*key)) | {"s": {"B": state}} for key, state in visitors.items()}


def _canned_client(visitors: Visitors) -> Any:
    """A DynamoDB client that is answered before anything is sent."""
    client: Any = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.meta.events.register("before-send.dynamodb", _Answers(visitors))
    return client


class _Answers:
    """Answers requests as DynamoDB would, with as little work as can be."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = {
            key[0]: json.dumps({**key_item(key), "s": {"B": base64.b64encode(item["s"]["B"]).decode()}})
            for key, item in _items(visitors).items()
        }

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        body = getattr(self, operation)(request.body).encode()
        return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.0"}, _Raw(body))

    def BatchGetItem(self, body: bytes) -> str:  # noqa: N802, D102 - the operation's name
        ((table, wanted),) = json.loads(body)["RequestItems"].items()
        found = (self._visitors.get(key["pk"]["S"]) for key in wanted["Keys"])
        return f'{{"Responses": {{"{table}": [{", ".join(item for item in found if item)}]}}, "UnprocessedKeys": {{}}}}'

    def BatchWriteItem(self, _: bytes) -> str:  # noqa: N802, D102
        return '{"UnprocessedItems": {}}'

    def BatchExecuteStatement(self, body: bytes) -> str:  # noqa: N802, D102
        return f'{{"Responses": [{", ".join(["{}"] * body.count(STATEMENT))}]}}'


class _Raw:
    """A response body as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> list[bytes]:
        return [self._body]
