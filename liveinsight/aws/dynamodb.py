"""DynamoDB calls in batches.

In: statements, keys and items. Out: items and verdicts, or the errors of `model.errors`. Conditional writes are sent 25
at a time as PartiQL statements (BatchExecuteStatement): each has its own condition and verdict and is billed as a
single write, but the CPU time of a request (signing, HTTP, parsing) is spent once for 25.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.aws.keys import Key
from liveinsight.aws.schema import TableNames
from liveinsight.model.errors import LiveInsightError, StoreUnavailable, no_answer

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Part = TypeVar("Part")
Answer = TypeVar("Answer")

Item = dict[str, Any]
"""An item in DynamoDB's own notation: ``{"pk": {"S": "..."}}``."""

GET_LIMIT = 100
"""Keys per BatchGetItem."""
WRITE_LIMIT = 25
"""Items per BatchWriteItem, statements per BatchExecuteStatement."""
LEFTOVER_ATTEMPTS = 6
PART_BYTES = 300_000
"""Largest binary attribute to write: an item may have 400 KB."""
AFTER_ALL = "~"
"""Sorts above the digits and separators in sort keys."""

_REFUSED = {"ConditionalCheckFailed", "DuplicateItem"}
_TEMPORARY = {
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "InternalServerError",
    "TransactionConflict",
    "ResourceNotFound",
}


class Statement(NamedTuple):
    """One PartiQL statement and its parameters."""

    text: str
    parameters: list[Any]


class Verdicts(NamedTuple):
    """Indexes of the statements that their condition refused, and of those without a confirmation."""

    refused: list[int]
    unconfirmed: list[int]


@contextmanager
def translated() -> Iterator[None]:
    """Turn botocore's errors into `StoreUnavailable` (temporary) or `LiveInsightError` (a bug or a missing right)."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "ResourceNotFoundException":
            raise StoreUnavailable("a table is missing: run `liveinsight init`") from error
        if status >= 500 or code.removesuffix("Exception") in _TEMPORARY or "Throttling" in code:
            raise StoreUnavailable(f"DynamoDB: {code}") from error
        raise LiveInsightError(f"DynamoDB refused: {error}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(no_answer("DynamoDB", type(error).__name__)) from error


class Dynamo:
    """Batched calls on a boto3 client. Thread safe.

    Args:
        client: a DynamoDB client.
        parallel: requests of one call that may be under way at once.
        sleep: waits before unprocessed items are sent again.
    """

    def __init__(
        self, client: DynamoDBClient, *, parallel: int = 4, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self.client = client
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="dynamo")
        self._sleep = sleep

    def get(self, table: str, keys: Sequence[Key], *, consistent: bool) -> list[Item]:
        """The items that exist among `keys`, in no order."""
        parts = self._each(lambda part: self._get_part(table, part, consistent), _batches(keys, GET_LIMIT))
        return [item for part in parts for item in part]

    def put(self, table: str, items: Sequence[Item]) -> None:
        """Put items without a condition."""
        self._each(lambda part: self._put_part(table, part), _batches(items, WRITE_LIMIT))

    def put_if(self, table: str, item: Item, condition: str, values: Item) -> bool:
        """Put one item if `condition` holds for the stored one; False if it does not."""
        with translated():
            try:
                self.client.put_item(
                    TableName=table, Item=item, ConditionExpression=condition, ExpressionAttributeValues=values
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def execute(self, statements: Sequence[Statement]) -> Verdicts:
        """Run conditional statements, each on an item of its own."""
        parts = _batches(statements, WRITE_LIMIT)
        refused: list[int] = []
        unconfirmed: list[int] = []
        for number, codes in enumerate(self._each(self._execute_part, parts)):
            for offset, code in enumerate(codes):
                if code in _REFUSED:
                    refused.append(number * WRITE_LIMIT + offset)
                elif code:
                    unconfirmed.append(number * WRITE_LIMIT + offset)
        return Verdicts(refused, unconfirmed)

    def query(self, table: str, partition: str, *, limit: int = 0, **request: Any) -> list[Item]:
        """Items of one partition in order, at most `limit` unless it is 0; `request` may narrow it (see `between`)."""
        arguments: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "pk = :pk" + request.pop("range_condition", ""),
            "ExpressionAttributeValues": {":pk": {"S": partition}, **request.pop("range_values", {})},
            **request,
        }
        items: list[Item] = []
        while True:
            if limit:
                arguments["Limit"] = limit - len(items)
            with translated():
                answer = self.client.query(**arguments)
            items.extend(answer["Items"])
            if not answer.get("LastEvaluatedKey") or (limit and len(items) >= limit):
                return items
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _each(self, call: Callable[[Part], Answer], parts: list[Part]) -> list[Answer]:
        if len(parts) == 1:
            return [call(parts[0])]
        return list(self._pool.map(call, parts))

    def _get_part(self, table: str, keys: Sequence[Key], consistent: bool) -> list[Item]:
        wanted = {table: {"Keys": [key_item(key) for key in keys], "ConsistentRead": consistent}}
        answers = self._until_processed(self.client.batch_get_item, wanted, "UnprocessedKeys")
        return [item for answer in answers for item in answer["Responses"].get(table, [])]

    def _put_part(self, table: str, items: Sequence[Item]) -> None:
        wanted = {table: [{"PutRequest": {"Item": item}} for item in items]}
        for _ in self._until_processed(self.client.batch_write_item, wanted, "UnprocessedItems"):
            pass

    def _until_processed(self, call: Callable[..., Any], wanted: Mapping[str, Any], leftover: str) -> Iterator[Any]:
        """Answers of a batch call, repeated after a growing pause for unprocessed keys or items."""
        for attempt in range(LEFTOVER_ATTEMPTS):
            with translated():
                answer = call(RequestItems=wanted)
            yield answer
            if not (wanted := answer.get(leftover) or {}):
                return
            self._sleep(random.uniform(0, 0.05 * 2**attempt))
        raise StoreUnavailable(f"{', '.join(wanted)}: DynamoDB throttles")

    def _execute_part(self, statements: Sequence[Statement]) -> list[str]:
        try:
            with translated():
                answer = self.client.batch_execute_statement(
                    Statements=[{"Statement": text, "Parameters": parameters} for text, parameters in statements]
                )
        except StoreUnavailable as error:
            return [str(error)] * len(statements)
        codes = []
        for response in answer["Responses"]:
            error_part = response.get("Error") or {}
            code = error_part.get("Code", "")
            if code and code not in _REFUSED and code not in _TEMPORARY:
                raise LiveInsightError(f"DynamoDB refused a statement: {code}: {error_part.get('Message')}")
            codes.append(code)
        return codes


class StoreTables:
    """Base of the parts of a `DynamoStore`: batched calls, and the names of the two tables."""

    def __init__(self, dynamo: Dynamo, names: TableNames) -> None:
        self._dynamo = dynamo
        self._counters = names.counters
        self._sessions = names.sessions


def key_item(key: Key) -> Item:
    """A key in DynamoDB's notation."""
    partition, sort = key
    return {"pk": {"S": partition}, "sk": {"S": sort}}


def insert(table: str, key: Key, attributes: Mapping[str, Any]) -> Statement:
    """Write an item that must not exist."""
    item = {**key_item(key), **attributes}
    return Statement(_insert_text(table, tuple(item)), list(item.values()))


def update(table: str, key: Key, attributes: Mapping[str, Any], condition: str, bound: Any) -> Statement:
    """Set attributes of an item that must exist and hold `condition`, such as ``"m" = ?``."""
    text = _update_text(table, tuple(attributes), condition)
    return Statement(text, [*attributes.values(), *key_item(key).values(), bound])


# Texts contain only our own names; every value is a parameter.


@cache
def _insert_text(table: str, names: tuple[str, ...]) -> str:
    fields = ", ".join(f"'{name}': ?" for name in names)
    return f'INSERT INTO "{table}" VALUE {{{fields}}}'


@cache
def _update_text(table: str, names: tuple[str, ...], condition: str) -> str:
    assignments = ", ".join(f'"{name}" = ?' for name in names)
    return f'UPDATE "{table}" SET {assignments} WHERE "pk" = ? AND "sk" = ? AND {condition}'


def between(first: str, last: str) -> dict[str, Any]:
    """Narrow a query to sort keys from `first` to `last`, both included."""
    return {
        "range_condition": " AND sk BETWEEN :first AND :last",
        "range_values": {":first": {"S": first}, ":last": {"S": last}},
    }


def _batches(values: Sequence[Part], size: int) -> list[Sequence[Part]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
