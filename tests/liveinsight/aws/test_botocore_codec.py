"""What msgspec writes and reads in botocore's place is what botocore would have written and read."""

from __future__ import annotations

import json
from typing import Any

import boto3
import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, ResponseStreamingError

from liveinsight.aws import botocore_codec

ITEM: dict[str, Any] = {
    "pk": {"S": 'p"ä\u2028'}, "n": {"N": "12"}, "b": {"B": b"\x00\xff"}, "yes": {"BOOL": True}, "no": {"NULL": True},
    "list": {"L": [{"S": "a"}, {"B": b"b"}]}, "map": {"M": {"x": {"N": "1"}}}, "set": {"SS": ["a", "b"]},
    "blobs": {"BS": [b"1", b"2"]},
}  # fmt: skip

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("kinesis", "put_records", {"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": b"\x00\xfe"}]}),
    (
        "dynamodb",
        "batch_execute_statement",
        {"Statements": [{"Statement": 'UPDATE "t" SET "m" = ?', "Parameters": list(ITEM.values())}]},
    ),
    ("dynamodb", "batch_get_item", {"RequestItems": {"t": {"Keys": [{"pk": {"S": "ü"}}], "ConsistentRead": True}}}),
    ("dynamodb", "batch_write_item", {"RequestItems": {"t": [{"PutRequest": {"Item": ITEM}}]}}),
]

STORED = {
    "pk": {"S": 'p"ä\u2028'}, "b": {"B": "AP8="}, "n": {"N": "12"}, "list": {"L": [{"B": "Yg=="}]},
    "no": {"NULL": True}, "map": {"M": {"x": {"BS": ["MQ=="]}}},
}  # fmt: skip

ANSWERS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "kinesis",
        "put_records",
        REQUESTS[0][2],
        {
            "FailedRecordCount": 1,
            "Records": [
                {"SequenceNumber": "49", "ShardId": "shardId-0"},
                {"ErrorCode": "InternalFailure", "ErrorMessage": "no"},
            ],
        },
    ),
    (
        "kinesis",
        "get_records",
        {"ShardIterator": "i", "Limit": 9},
        {
            "Records": [
                {
                    "SequenceNumber": "49",
                    "ApproximateArrivalTimestamp": 1.763e9,
                    "Data": "AP8=",
                    "PartitionKey": "k",
                    "EncryptionType": "KMS",
                }
            ],
            "NextShardIterator": "j",
            "MillisBehindLatest": 5,
        },
    ),
    (
        "dynamodb",
        "batch_execute_statement",
        REQUESTS[1][2],
        {"Responses": [{"TableName": "t"}, {"Error": {"Code": "ConditionalCheckFailed", "Message": "no"}}]},
    ),
    (
        "dynamodb",
        "batch_get_item",
        REQUESTS[2][2],
        {"Responses": {"t": [STORED]}, "UnprocessedKeys": {"t": {"Keys": [{"pk": {"S": "a"}}]}}},
    ),
    (
        "dynamodb",
        "query",
        {"TableName": "t"},
        {"Items": [STORED], "Count": 1, "ScannedCount": 1, "LastEvaluatedKey": {"pk": {"S": "a"}}},
    ),
]


class Wire:
    """Notes what is sent, and answers as told."""

    def __init__(self, status: int = 200, body: bytes = b"{}") -> None:
        self.sent: list[Any] = []
        self.bodies: list[bytes] = []
        self._status = status
        self._body = body

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        self.sent.append(json.loads(request.body))
        self.bodies.append(request.body)
        headers: Any = {"Content-Type": "application/x-amz-json-1.0"}
        raw: Any = self
        return AWSResponse(request.url, self._status, headers, raw)

    def stream(self, **_: object) -> list[bytes]:
        return [self._body]


def client_on(wire: Wire, service: str, *, installed: bool) -> Any:
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    session: Any = boto3.Session("a", "b", region_name="eu-central-1")
    client = session.client(service, config=config)
    if installed:
        botocore_codec.install(client)
    client.meta.events.register(f"before-send.{service}", wire)
    return client


@pytest.mark.parametrize(("service", "operation", "parameters"), REQUESTS)
def test_the_same_is_sent(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """The body that goes out means the same, and what the caller gave is as it was."""
    before = repr(parameters)
    wire = Wire()
    for installed in (False, True):
        getattr(client_on(wire, service, installed=installed), operation)(**parameters)
    assert wire.sent[0] == wire.sent[1]
    assert wire.sent[0]
    assert repr(parameters) == before


@pytest.mark.parametrize(("service", "operation", "parameters", "answer"), ANSWERS)
def test_the_same_is_read(service: str, operation: str, parameters: dict[str, Any], answer: dict[str, Any]) -> None:
    """An answer gives what it gave, except for fields that nobody asks for."""
    read = []
    for installed in (False, True):
        wire = Wire(body=json.dumps(answer).encode())
        read.append(getattr(client_on(wire, service, installed=installed), operation)(**parameters))
        assert read[-1].pop("ResponseMetadata")["HTTPStatusCode"] == 200
    for record in (record for answer in read for record in answer.get("Records", [])):
        record.pop("EncryptionType", None)
    assert read[0] == read[1]


@pytest.mark.parametrize(("service", "operation", "parameters"), REQUESTS)
def test_botocore_sends_the_body_of_msgspec(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """botocore still calls the hooks for a request. Without them the body is the same, but botocore has made it."""
    wire = Wire()
    getattr(client_on(wire, service, installed=True), operation)(**parameters)
    assert wire.bodies == [msgspec.json.encode(parameters)]


@pytest.mark.parametrize(("service", "operation", "parameters", "answer"), ANSWERS)
def test_botocore_gets_no_body_to_parse(
    service: str, operation: str, parameters: dict[str, Any], answer: dict[str, Any]
) -> None:
    """botocore still calls the hook for an answer: it does not parse again what msgspec has read."""
    client = client_on(Wire(body=json.dumps(answer).encode()), service, installed=True)
    parsed: list[bytes] = []
    client.meta.events.register_last("before-parse", lambda response_dict, **_: parsed.append(response_dict["body"]))
    getattr(client, operation)(**parameters)
    assert parsed == [b"{}"]


def test_an_answer_that_is_not_understood_is_left_to_botocore() -> None:
    """A null where there should be a text: the answer is botocore's. What is no JSON is an error."""
    read = []
    for installed in (False, True):
        wire = Wire(body=b'{"Items": [{"pk": {"S": null}}], "LastEvaluatedKey": null}')
        read.append(client_on(wire, "dynamodb", installed=installed).query(TableName="t"))
    assert read[0] == read[1]
    with pytest.raises(ResponseStreamingError):
        client_on(Wire(body=b'{"Items": ['), "dynamodb", installed=True).query(TableName="t")


def test_errors_stay_botocores() -> None:
    """A refusal is the exception that it always was."""
    wire = Wire(400, b'{"__type": "com.amazonaws.dynamodb#ThrottlingException", "message": "slower"}')
    with pytest.raises(ClientError, match="ThrottlingException"):
        client_on(wire, "dynamodb", installed=True).batch_get_item(**REQUESTS[2][2])
