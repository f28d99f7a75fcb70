"""The AWS adapters against moto: definitions, idempotence, and how AWS's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from liveinsight.aws.dynamodb import Dynamo, insert
from liveinsight.aws.kinesis import KinesisStream
from liveinsight.aws.schema import TTL_ATTRIBUTE, TableNames, create_all
from liveinsight.model.errors import (
    IteratorExpired,
    LiveInsightError,
    StoreUnavailable,
    StreamRefused,
    StreamUnavailable,
)
from liveinsight.storage.stream import OutRecord, Shard, StartAt

NAMES = TableNames.with_prefix("shop")


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """Kinesis and DynamoDB clients on an empty AWS account in memory."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        session = boto3.Session(region_name="eu-central-1")
        yield session.client("kinesis"), session.client("dynamodb")


def create(clients: tuple[Any, Any], *, protect: bool = False, shards: int = 3) -> list[str]:
    kinesis, dynamodb = clients
    return list(
        create_all(kinesis, dynamodb, stream_name="shop", shards=shards, names=NAMES, deletion_protection=protect)
    )


def test_init_makes_stream_and_tables(clients: tuple[Any, Any]) -> None:
    """The stream has its shards; both tables are on demand, with expiry, and without an index to pay for."""
    assert create(clients) == [
        "stream shop created with 3 shards",
        "table shop-counters created",
        "table shop-sessions created",
        "expiry is on for both tables (attribute ttl)",
    ]
    kinesis, dynamodb = clients
    assert len(KinesisStream(kinesis, "shop").shards()) == 3
    for name in (NAMES.counters, NAMES.sessions):
        table = dynamodb.describe_table(TableName=name)["Table"]
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": TTL_ATTRIBUTE}
        assert not table.get("GlobalSecondaryIndexes")


def test_init_again_changes_protection_only(clients: tuple[Any, Any]) -> None:
    """A second run keeps what is there, also the number of shards, and sets deletion protection as told."""
    create(clients)
    lines = create(clients, protect=True, shards=9)
    assert lines[:3] == [
        "stream shop is there",
        "table shop-counters is there, deletion protection on",
        "table shop-sessions is there, deletion protection on",
    ]
    kinesis, dynamodb = clients
    assert len(KinesisStream(kinesis, "shop").shards()) == 3
    assert dynamodb.describe_table(TableName=NAMES.counters)["Table"]["DeletionProtectionEnabled"] is True


def test_records_go_through_kinesis(clients: tuple[Any, Any]) -> None:
    """What is put comes back with its key and data."""
    create(clients)
    stream = KinesisStream(clients[0], "shop")
    (outcome,) = stream.put([OutRecord("b001", b"\x00data")])
    batch = stream.read(stream.iterator(outcome.shard_id, after=None, start=StartAt.TRIM_HORIZON), 10)
    assert [(record.partition_key, record.data) for record in batch.records] == [("b001", b"\x00data")]


@pytest.fixture
def kinesis() -> Any:
    return boto3.Session("a", "b", region_name="eu-central-1").client("kinesis")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ProvisionedThroughputExceededException", 400, StreamUnavailable),
        ("LimitExceededException", 400, StreamUnavailable),
        ("InternalFailure", 500, StreamUnavailable),
        ("ExpiredIteratorException", 400, IteratorExpired),
        ("AccessDeniedException", 400, StreamRefused),
    ],
)
def test_kinesis_errors_become_ours(kinesis: Any, code: str, status: int, expected: type[Exception]) -> None:
    """Passing troubles are told apart from what an operator must mend."""
    with Stubber(kinesis) as stub:
        for _ in range(5):
            stub.add_client_error("get_records", code, http_status_code=status)
        with pytest.raises(expected) as caught:
            KinesisStream(kinesis, "shop").read("iterator", 10)
    assert type(caught.value) is expected


def test_partial_failure_names_the_records(kinesis: Any) -> None:
    """Of a put that is taken in part, each record says what became of it."""
    answer = {
        "FailedRecordCount": 1,
        "Records": [
            {"ShardId": "shardId-000000000000", "SequenceNumber": "7"},
            {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"},
        ],
    }
    with Stubber(kinesis) as stub:
        stub.add_response("put_records", answer)
        outcomes = KinesisStream(kinesis, "shop").put([OutRecord("a", b"1"), OutRecord("b", b"2")])
    assert [(outcome.sequence_number, outcome.error) for outcome in outcomes] == [
        ("7", ""),
        ("", "ProvisionedThroughputExceededException"),
    ]


def test_shards_are_listed_over_pages(kinesis: Any) -> None:
    """Shards of all pages come with their parents, parents first."""

    def shard(number: int, **parents: str) -> dict[str, Any]:
        spans = {
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        }
        return {"ShardId": f"shardId-{number:012d}", **spans, **parents}

    child = shard(2, ParentShardId="shardId-000000000000", AdjacentParentShardId="shardId-000000000001")
    with Stubber(kinesis) as stub:
        stub.add_response("list_shards", {"Shards": [child], "NextToken": "more"}, {"StreamName": "shop"})
        stub.add_response("list_shards", {"Shards": [shard(0), shard(1)]}, {"NextToken": "more"})
        shards = KinesisStream(kinesis, "shop").shards()
    assert shards == [
        Shard("shardId-000000000000", ()),
        Shard("shardId-000000000001", ()),
        Shard("shardId-000000000002", ("shardId-000000000000", "shardId-000000000001")),
    ]


@pytest.fixture
def dynamodb() -> Any:
    return boto3.Session("a", "b", region_name="eu-central-1").client("dynamodb")


def test_reads_that_are_left_over_are_asked_again(dynamodb: Any) -> None:
    """Unprocessed keys of a throttled table are read in the end, or the store is said to be unavailable."""
    item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    left_over = {"Responses": {}, "UnprocessedKeys": {"shop": {"Keys": [item]}}}
    with Stubber(dynamodb) as stub:
        stub.add_response("batch_get_item", left_over)
        stub.add_response("batch_get_item", {"Responses": {"shop": [item]}, "UnprocessedKeys": {}})
        assert Dynamo(dynamodb, sleep=lambda _: None).get("shop", [("a", "b")], consistent=True) == [item]
        for _ in range(6):
            stub.add_response("batch_get_item", left_over)
        with pytest.raises(StoreUnavailable):
            Dynamo(dynamodb, sleep=lambda _: None).get("shop", [("a", "b")], consistent=True)


def test_verdicts_of_statements(dynamodb: Any) -> None:
    """Refused, throttled and done statements are told apart; a mistake of ours is no passing trouble."""
    codes = [None, "DuplicateItem", "ConditionalCheckFailed", "ThrottlingError"]
    answers = [{"Error": {"Code": code, "Message": "no"}} if code else {} for code in codes]
    statements = [insert("shop", ("a", str(number)), {}) for number in range(4)]
    with Stubber(dynamodb) as stub:
        stub.add_response("batch_execute_statement", {"Responses": answers})
        assert Dynamo(dynamodb).execute(statements) == ([1, 2], [3])
        stub.add_response("batch_execute_statement", {"Responses": [{"Error": {"Code": "ValidationError"}}]})
        with pytest.raises(LiveInsightError, match="ValidationError"):
            Dynamo(dynamodb).execute(statements[:1])


def test_missing_table_says_what_to_do(dynamodb: Any) -> None:
    """A table that is not there is waited for, with the command that creates it in the log."""
    with Stubber(dynamodb) as stub:
        stub.add_client_error("query", "ResourceNotFoundException")
        with pytest.raises(StoreUnavailable, match="liveinsight init"):
            Dynamo(dynamodb).query("shop", "pk")
