"""Outcomes become answers: a status and a JSON body. Errors name fields and reasons, never what a payload held."""

from __future__ import annotations

from typing import Any

from ingest.pipeline import Outcome, Refused
from ingest.reasons import Reason
from liveinsight.errors import InvalidPayload

Answer = tuple[int, dict[str, Any]]
"""(HTTP status, body)."""


def answer(outcome: Outcome) -> Answer:
    """202 when nothing was refused, 207 when some was, 4xx when all was."""
    refused = [_described(one) for one in outcome.refused]
    if refused and not outcome.accepted and not outcome.dropped:
        return _all_refused([one.error for one in outcome.refused], refused)
    body: dict[str, Any] = {"accepted": len(outcome.accepted), "ids": [one.id for one in outcome.accepted]}
    if outcome.dropped:
        body["dropped"] = [{"index": one.index, "reason": one.reason} for one in outcome.dropped]
    if not refused:
        return 202, body
    return 207, {**body, "refused": len(refused), "events": refused}


def error(reason: str, message: str) -> dict[str, Any]:
    """Body of an error that concerns no single event."""
    return {"error": {"reason": reason, "message": message}}


def refusal(invalid: InvalidPayload) -> Answer:
    """Answer to a request that is refused as a whole."""
    body = error(invalid.reason, invalid.message)
    if invalid.field:
        body["error"]["field"] = invalid.field
    return invalid.status, body


def _described(one: Refused) -> dict[str, Any]:
    return {
        "index": one.index,
        "reason": one.error.reason,
        "field": one.error.field,
        "message": one.error.message,
    }


def _all_refused(errors: list[InvalidPayload], described: list[dict[str, Any]]) -> Answer:
    first = errors[0]
    status = first.status if all(one.status == first.status for one in errors) else 400
    if all(one.reason == first.reason for one in errors):
        body = error(first.reason, first.message)
    else:
        body = error(Reason.INVALID_EVENTS, f"all {len(errors)} events were refused")
    body["error"]["events"] = described
    return status, body
