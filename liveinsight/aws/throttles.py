"""Counts how often AWS throttles a client, including calls that botocore retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.client import BaseClient

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "Throttling",
        "KMSThrottling",
        "LimitExceeded",
    }
)
"""Error codes without their suffix "Exception"."""


def report_throttles(client: object, report: Callable[[int], object]) -> None:
    """Call `report` with the number of throttled parts of each answer that has any."""

    def look(parsed_response: dict[str, Any] | None, **_: object) -> None:
        if parsed_response and (count := throttled(parsed_response)):
            report(count)

    assert isinstance(client, BaseClient)
    client.meta.events.register("response-received", look)


def throttled(answer: dict[str, Any]) -> int:
    """Throttled parts of an answer: the request, statements of a batch, or unprocessed items."""
    responses = answer.get("Responses")
    parts = [answer, *(responses if isinstance(responses, list) else ())]
    codes = [part.get("Error", {}).get("Code", "").removesuffix("Exception") for part in parts]
    leftover = answer.get("UnprocessedKeys") or answer.get("UnprocessedItems")
    return sum(code in THROTTLED for code in codes) + bool(leftover)
