"""What the Lambda function accepts: the events of one shard of its stream, and a mapping that keeps their order."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from liveinsight.aws.lambda_mapping import check_mappings
from liveinsight.storage.stream import Record
from processor.aws_lambda.event import LambdaRefused, parse_event
from tests.processor.aws_lambda.lambda_service import ARN, FUNCTION, ROOT, as_event


def mapping(**changes: Any) -> dict[str, Any]:
    return {
        "UUID": "1" * 36,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ParallelizationFactor": 1,
        **changes,
    }


@pytest.mark.parametrize(
    ("found", "problem", "reports"),
    [
        ([mapping()], "", True),
        ([mapping(ParallelizationFactor=2)], "ParallelizationFactor is 2", True),
        ([mapping(TumblingWindowInSeconds=30)], "TumblingWindowInSeconds", True),
        ([mapping(FunctionResponseTypes=[])], "", False),
        ([mapping(), mapping(ParallelizationFactor=10)], "ParallelizationFactor is 10", True),
    ],
)
def test_mapping_is_looked_at(found: list[dict[str, Any]], problem: str, reports: bool) -> None:
    """What the mapping's own settings say decides: too much in parallel or a window is a problem with a remedy."""
    client = boto3.Session("a", "b", region_name="eu-central-1").client("lambda")
    with Stubber(client) as stub:
        expected = {"FunctionName": FUNCTION, "EventSourceArn": ARN}
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": found}, expected)
        mappings = check_mappings(client, FUNCTION, ARN)
    assert bool(mappings.problems) == bool(problem)
    assert problem in "".join(mappings.problems)
    assert (mappings.reports_failures, mappings.unknown) == (reports, "")


def test_mapping_that_may_not_be_read_is_unknown() -> None:
    """Without the permission nothing is assumed, least of all that Lambda reads which records failed."""
    client = boto3.Session("a", "b", region_name="eu-central-1").client("lambda")
    with Stubber(client) as stub:
        stub.add_client_error("list_event_source_mappings", "AccessDeniedException", http_status_code=403)
        mappings = check_mappings(client, FUNCTION, ARN)
    assert (mappings.problems, mappings.reports_failures) == ([], False)
    assert "AccessDenied" in mappings.unknown


def test_event_as_in_the_documentation() -> None:
    """The event of AWS's own documentation is understood, down to the arrival time."""
    event = {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
                    "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
                "awsRegion": "us-east-2",
                "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream",
            }
        ]
    }
    batch = parse_event(event)
    number = "49590338271490256608559692538361571095921575989136588898"
    assert (batch.stream_name, batch.shard_id) == ("lambda-stream", "shardId-000000000006")
    assert batch.records == [Record(number, "1", b"Hello, this is a test.", 1_545_084_650_987)]


def test_consumer_of_a_stream_names_the_stream() -> None:
    """With enhanced fan-out the source is a consumer; the stream is the one it consumes."""
    consumer = f"{ARN}/consumer/count:1545084650"
    assert parse_event(as_event(ROOT, [Record("1", "a", b"x", 0)], consumer)).stream_name == "shop"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"Records": []}, "one shard"),
        ({"Records": [{"s3": {}}]}, "not an event of a Kinesis"),
        ({"httpMethod": "GET"}, "not an event of a Kinesis"),
        ({"window": {"start": "", "end": ""}, "state": {}, "Records": []}, "tumbling window"),
        (
            {
                "Records": as_event(ROOT, [Record("1", "a", b"", 0)])["Records"]
                + as_event("shardId-000000000001", [Record("1", "a", b"", 0)])["Records"]
            },
            "one shard",
        ),
        (as_event(ROOT, [Record("2", "a", b"", 0), Record("1", "a", b"", 0)]), "order"),
    ],
)
def test_events_that_cannot_be_counted_once_are_refused(event: dict[str, Any], message: str) -> None:
    """Each refusal says what is wrong."""
    with pytest.raises(LambdaRefused, match=message):
        parse_event(event)
