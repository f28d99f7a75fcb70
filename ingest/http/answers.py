"""Answers: from the outcome of a request to a status, a JSON body, and a response that no cache stores.

Errors name fields and reasons, never values of a payload. The OpenAPI document is made from the types of the bodies.

    all accepted (or dropped)   202  {"accepted": 2, "ids": ["a", "b"]}
    some refused                207  {"accepted": 1, "refused": 1, "ids": ["a"], "events": [{"index": 0, ...}, ...]}
    all refused                 4xx  {"error": {"reason": ..., "events": [...]}}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from flask import Response
from msgspec import UNSET, Struct, UnsetType

from ingest.contract.reasons import Reason
from ingest.pipeline.pipeline import Outcome, Refused
from liveinsight.model.errors import InvalidPayload

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_encode = msgspec.json.Encoder().encode
NOT_STORED = ("Cache-Control", "no-store")
ANY_ORIGIN = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "Retry-After"))
"""Lets pages of every origin read a response."""


class EventStatus(Struct, kw_only=True, forbid_unknown_fields=True):
    """The result of one event. A dropped event has status 202 and a reason."""

    index: int
    status: int
    id: str | UnsetType = UNSET
    receipt: str | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    field: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class DroppedEvent(Struct, kw_only=True, forbid_unknown_fields=True):
    """A valid event that is deliberately not counted."""

    index: int
    reason: Reason


class AcceptedEvents(Struct, kw_only=True, forbid_unknown_fields=True):
    """No event is refused. `ids` are those of the accepted events in order: their own, or made."""

    accepted: int
    ids: list[str]
    dropped: list[DroppedEvent] | UnsetType = UNSET


class PartlyAccepted(Struct, kw_only=True, forbid_unknown_fields=True):
    """Some events are refused. `events` has the result of each."""

    accepted: int
    refused: int
    ids: list[str]
    events: list[EventStatus]
    dropped: list[DroppedEvent] | UnsetType = UNSET


class Receipts(Struct, kw_only=True, forbid_unknown_fields=True):
    """The result of each event of a server. With its receipt a server asks for an event's trace."""

    accepted: int
    refused: int
    events: list[EventStatus]


class Problem(Struct, kw_only=True, forbid_unknown_fields=True):
    """An error. `field` names the invalid field of the payload, `events` every refused event."""

    reason: Reason
    message: str
    request_id: str
    field: str | UnsetType = UNSET
    events: list[EventStatus] | UnsetType = UNSET


class Failure(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of every error answer."""

    error: Problem


class Health(Struct, kw_only=True, forbid_unknown_fields=True):
    """The answer of a health check."""

    status: str


class Answer(NamedTuple):
    """HTTP status and body."""

    status: int
    body: Struct


def answer(outcome: Outcome, request_id: str) -> Answer:
    """202 when no event is refused, 207 when some are, 4xx when all are."""
    if outcome.refused and not outcome.accepted and not outcome.dropped:
        return _all_refused(outcome.refused, request_id)
    ids = [one.id for one in outcome.accepted]
    dropped = [DroppedEvent(index=one.index, reason=one.reason) for one in outcome.dropped] or UNSET
    if not outcome.refused:
        return Answer(202, AcceptedEvents(accepted=len(ids), ids=ids, dropped=dropped))
    body = PartlyAccepted(
        accepted=len(ids), refused=len(outcome.refused), ids=ids, dropped=dropped, events=statuses(outcome)
    )
    return Answer(207, body)


def receipts(outcome: Outcome, given: Sequence[str], request_id: str) -> Answer:
    """The answer to a server. `given` has the receipts of the accepted events, then of the dropped ones."""
    if outcome.refused and not outcome.accepted and not outcome.dropped:
        return _all_refused(outcome.refused, request_id)
    indexes = [one.index for one in outcome.accepted] + [one.index for one in outcome.dropped]
    handed_out = dict(zip(indexes, given, strict=True))
    events = statuses(outcome)
    for event in events:
        event.receipt = handed_out.get(event.index, UNSET)
    body = Receipts(accepted=len(outcome.accepted), refused=len(outcome.refused), events=events)
    return Answer(207 if outcome.refused else 202, body)


def statuses(outcome: Outcome) -> list[EventStatus]:
    """The result of each event, in the order of the request."""
    taken = [EventStatus(index=one.index, status=202, id=one.id) for one in outcome.accepted]
    dropped = [EventStatus(index=one.index, status=202, reason=one.reason) for one in outcome.dropped]
    return sorted([*taken, *dropped, *map(_described, outcome.refused)], key=lambda event: event.index)


def error(reason: Reason, message: str, request_id: str) -> Failure:
    """The body of an error of the whole request."""
    return Failure(error=Problem(reason=reason, message=message, request_id=request_id))


def refusal(invalid: InvalidPayload, request_id: str) -> Answer:
    """The answer to a request that is refused as a whole."""
    body = error(Reason(invalid.reason), invalid.message, request_id)
    body.error.field = invalid.field or UNSET
    return Answer(invalid.status, body)


class JsonResponse(Response):
    """A JSON body with fixed headers. They skip Werkzeug's `headers`, which would cost more than the encoding.

    Fixed headers are added when the response is sent, unless `headers` has one of the same name.
    """

    def __init__(self, body: bytes, status: int, headers: Sequence[tuple[str, str]]) -> None:
        super().__init__(None, status, content_type="application/json")
        self._fixed = [NOT_STORED, *headers, ("Content-Length", str(len(body)))]
        self.response = [body]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = self.headers.to_wsgi_list()
        fixed = self._fixed if len(headers) == 1 else [one for one in self._fixed if one[0] not in self.headers]
        start_response(self.status, headers + fixed)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else cast("list[bytes]", self.response)


def json_response(status: int, body: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """`body` as JSON."""
    return JsonResponse(_encode(body), status, headers)


def _described(one: Refused) -> EventStatus:
    invalid = one.error
    return EventStatus(
        index=one.index,
        status=invalid.status,
        reason=Reason(invalid.reason),
        field=invalid.field,
        message=invalid.message,
    )


def _all_refused(refused: Sequence[Refused], request_id: str) -> Answer:
    first = refused[0].error
    status = first.status if all(one.error.status == first.status for one in refused) else 400
    if all(one.error.reason == first.reason for one in refused):
        body = error(Reason(first.reason), first.message, request_id)
    else:
        body = error(Reason.INVALID_EVENTS, f"all {len(refused)} events were refused", request_id)
    body.error.events = [_described(one) for one in refused]
    return Answer(status, body)
