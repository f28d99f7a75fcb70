"""Checks that the event source mappings from a Kinesis stream to a Lambda function allow counting once.

In: a boto3 client for Lambda, the function's and the stream's ARN. Out: what is wrong, in words; nothing is changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.settings import Settings


class Mappings(NamedTuple):
    """The result of the check."""

    problems: list[str]
    """Each says what to change."""
    reports_failures: bool
    """Whether an answer may name the record to retry from."""
    unknown: str
    """Why the mappings cannot be read; "" if they can."""


def lambda_client(settings: Settings) -> Any:
    """A client for Lambda's own API."""
    config = Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=2, read_timeout=3)
    session = boto3.Session(region_name=settings.region)
    return session.client("lambda", endpoint_url=settings.endpoint_url or None, config=config)


def check_mappings(client: Any, function_arn: str, source_arn: str) -> Mappings:
    """Check every mapping of the stream to the function."""
    found: list[dict[str, Any]] = []
    request = {"FunctionName": function_arn, "EventSourceArn": source_arn}
    try:
        while True:
            answer = client.list_event_source_mappings(**request)
            found += answer["EventSourceMappings"]
            if not answer.get("NextMarker"):
                break
            request["Marker"] = answer["NextMarker"]
    except (ClientError, BotoCoreError) as error:
        return Mappings([], False, f"{type(error).__name__}: {error}")
    if not found:
        return Mappings([], False, "the function has no event source mapping of this stream")
    problems = [problem for mapping in found for problem in _problems(mapping)]
    return Mappings(problems, all(_reports_failures(mapping) for mapping in found), "")


def _problems(mapping: dict[str, Any]) -> list[str]:
    problems = []
    factor = mapping.get("ParallelizationFactor") or 1
    if factor > 1:
        problems.append(
            f"ParallelizationFactor is {factor}: batches of a shard would be counted side by side and overtake each "
            "other; set it to 1, and split shards instead"
        )
    if mapping.get("TumblingWindowInSeconds"):
        problems.append("TumblingWindowInSeconds is set: remove it")
    return [f"event source mapping {mapping.get('UUID', '')}: {problem}" for problem in problems]


def _reports_failures(mapping: dict[str, Any]) -> bool:
    return "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or [])
