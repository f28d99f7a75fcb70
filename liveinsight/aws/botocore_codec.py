"""Bodies of the AWS calls that carry events and items, written and read by msgspec.

botocore serialises a body value by value in Python: half of a call's CPU time. The protocol is JSON with bytes in
base64, which msgspec encodes natively. botocore's hooks let it in: signing, sending, retries and errors stay
botocore's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

import msgspec
from botocore.client import BaseClient
from botocore.exceptions import ResponseStreamingError


class _KinesisRecord(TypedDict):
    SequenceNumber: str
    ApproximateArrivalTimestamp: datetime
    Data: bytes
    PartitionKey: str


class _GetRecords(TypedDict, total=False):
    Records: list[_KinesisRecord]
    NextShardIterator: str | None
    MillisBehindLatest: int


class _PutRecords(TypedDict, total=False):
    FailedRecordCount: int
    Records: list[dict[str, Any]]


class _AttributeValue(TypedDict, total=False):
    """A value in DynamoDB's notation."""

    S: str
    N: str
    B: bytes
    BOOL: bool
    NULL: bool
    L: list[_AttributeValue]
    M: dict[str, _AttributeValue]
    SS: list[str]
    NS: list[str]
    BS: list[bytes]


_Item = dict[str, _AttributeValue]


class _Query(TypedDict, total=False):
    Items: list[_Item]
    LastEvaluatedKey: _Item
    Count: int
    ScannedCount: int
    ConsumedCapacity: dict[str, Any]


class _BatchGetItem(TypedDict, total=False):
    Responses: dict[str, list[_Item]]
    UnprocessedKeys: dict[str, Any]
    ConsumedCapacity: list[dict[str, Any]]


class _BatchExecuteStatement(TypedDict, total=False):
    Responses: list[dict[str, Any]]
    ConsumedCapacity: list[dict[str, Any]]


_WRITTEN: tuple[tuple[str, str, str, object], ...] = (
    ("kinesis", "PutRecords", "Records", []),
    ("dynamodb", "BatchExecuteStatement", "Statements", []),
    ("dynamodb", "BatchGetItem", "RequestItems", {}),
    ("dynamodb", "BatchWriteItem", "RequestItems", {}),
)  # fmt: skip
"""(service, operation, long parameter, the value that botocore gets in its place)."""

_READ: tuple[tuple[str, str, Any], ...] = (
    ("kinesis", "PutRecords", _PutRecords),
    ("kinesis", "GetRecords", _GetRecords),
    ("dynamodb", "BatchGetItem", _BatchGetItem),
    ("dynamodb", "Query", _Query),
    ("dynamodb", "Scan", _Query),
    ("dynamodb", "BatchExecuteStatement", _BatchExecuteStatement),
)
"""(service, operation, shape of a successful answer)."""

_BODY = "liveinsight_body"
_encode = msgspec.json.Encoder().encode


def install(client: BaseClient) -> None:
    """Let msgspec write and read the bodies of `client`'s long calls. Only where its protocol is JSON."""
    model = client.meta.service_model
    if model.resolved_protocol != "json":
        return
    events = client.meta.events
    for service, operation, long, empty in _WRITTEN:
        if service == model.service_name:
            events.register(f"before-parameter-build.{service}.{operation}", _Writer(long, empty))
            events.register(f"before-call.{service}.{operation}", _put_body)
    for service, operation, shape in _READ:
        if service == model.service_name:
            events.register(f"before-parse.{service}.{operation}", _Reader(shape))


class _Writer:
    """Encodes all parameters, and hides the long one from botocore's encoder."""

    def __init__(self, long: str, empty: object) -> None:
        self._long = long
        self._empty = empty

    def __call__(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context[_BODY] = _encode(params)
        params[self._long] = self._empty


def _put_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    params["body"] = context.pop(_BODY)


class _Reader:
    """Decodes a successful answer and leaves botocore an empty one; other shapes are left to botocore.

    Raises:
        ResponseStreamingError: the answer is no JSON. botocore would take it for an empty one.
    """

    def __init__(self, shape: Any) -> None:
        # Times are epoch seconds.
        self._decode = msgspec.json.Decoder(shape, strict=False).decode

    def __call__(self, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
        if response_dict["status_code"] >= 300:
            return
        try:
            answer = self._decode(response_dict["body"])
        except msgspec.ValidationError:
            return
        except msgspec.DecodeError as error:
            raise ResponseStreamingError(error=error) from error
        customized_response_dict.update(answer)
        response_dict["body"] = b"{}"
