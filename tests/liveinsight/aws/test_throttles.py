"""Throttled calls and statements are counted, also those that botocore repeats by itself."""

from __future__ import annotations

from typing import Any

import pytest

from liveinsight.aws.clients import dynamodb_client, report_throttles, throttled
from liveinsight.settings import Settings


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ({"Responses": [{}, {"Error": {"Code": "ThrottlingError"}}, {"Error": {"Code": "DuplicateItem"}}]}, 1),
        ({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, 1),
        ({"Responses": {"table": [{"pk": {"S": "a"}}]}, "UnprocessedKeys": {"table": {"Keys": []}}}, 1),
        ({"Responses": {"table": []}, "UnprocessedKeys": {}}, 0),
        ({"Error": {"Code": "ResourceNotFoundException"}}, 0),
        ({"Items": []}, 0),
    ],
)
def test_throttled_parts_of_an_answer(answer: dict[str, Any], count: int) -> None:
    """A throttled request, statement of a batch, or rest of a batch."""
    assert throttled(answer) == count


def test_each_answer_of_a_client_is_looked_at() -> None:
    """By botocore's event of every attempt."""
    client = dynamodb_client(Settings(endpoint_url="http://127.0.0.1:1"))
    counted: list[int] = []
    report_throttles(client, counted.append)
    answers: list[dict[str, Any] | None] = [{"Error": {"Code": "ThrottlingException"}}, {"Items": []}, None]
    for answer in answers:
        client.meta.events.emit("response-received.dynamodb.Query", parsed_response=answer, response_dict=None)
    assert counted == [1]
