"""``/v1/events``: events that servers send with an API key, and traces of single events.

A server sends events on behalf of visitors: time, ids, client address and user agent are in the payload, and bots are
not dropped. The limits are those of ``/collect``. A key belongs to one site, and each event's site must have it. No
answer has CORS headers, so pages of other origins cannot use these endpoints: a key in a page is no secret.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from flask import Response, request

from ingest.contract.limits import MAX_ID
from ingest.contract.reasons import Reason
from ingest.contract.text import clean
from ingest.http.answers import json_response, receipts
from ingest.http.request_headers import bearer_key, check_body_is_readable
from ingest.http.response_headers import request_id
from ingest.http.service import Service
from ingest.pipeline.context import Context
from ingest.pipeline.parsing import BodyParser, Parsed
from ingest.pipeline.payload import ServerPayload
from ingest.pipeline.pipeline import Outcome
from ingest.tracing.receipts import Receipt, read_receipt, write_receipt
from ingest.tracing.trace import trace_id, trace_receipt
from liveinsight.model.errors import InvalidPayload
from liveinsight.sites.site import Sites

_parse = BodyParser(ServerPayload)


def take(service: Service) -> Response:
    """POST /v1/events."""
    key = bearer_key(request.environ)
    check_body_is_readable(request.environ)
    received_at = service.clock()
    payloads = _parse(service.read_body(request.environ))
    outcome = service.server_pipeline.collect_each(
        _with_contexts(service.sites(), payloads, key, received_at), locate=True
    )
    given = [write_receipt(receipt, key) for receipt in _receipts(service, outcome, payloads, received_at)]
    response = json_response(*receipts(outcome, given, request_id()))
    if response.status_code == 429:
        response.headers["Retry-After"] = str(outcome.retry_after)
    return response


def trace(service: Service, event_id: str) -> Response:
    """GET /v1/events/{id}/trace."""
    key = bearer_key(request.environ)
    sites = service.sites()
    receipt = read_receipt(event_id, key)
    if receipt is not None:
        _check_key(sites, receipt.site, key)
        return json_response(200, trace_receipt(service.open_store(), receipt))
    asked = request.args
    site = asked.get("site") or sites.default
    _check_key(sites, site, key)
    session_id = clean(asked.get("session_id"), MAX_ID)
    user_id = clean(asked.get("user_id"), MAX_ID)
    found = None
    if session_id or user_id:
        found = trace_id(service.open_store(), site, event_id, session_id=session_id, user_id=user_id)
    if found is None:
        raise InvalidPayload(
            Reason.UNKNOWN_RECEIPT,
            "this is no receipt for this key, and no stored event of that session or user has this id",
            status=404,
        )
    return json_response(200, found)


def _with_contexts(
    sites: Sites, payloads: list[ServerPayload | InvalidPayload], key: str, received_at: int
) -> Iterator[tuple[Parsed, Context]]:
    # Keys are checked once per request and site, not per event.
    checked: dict[str, InvalidPayload | None] = {}
    for payload in payloads:
        if isinstance(payload, InvalidPayload):
            yield payload, Context(received_at=received_at)
            continue
        site = payload.site or sites.default
        if site not in checked:
            checked[site] = _key_problem(sites, site, key)
        problem = checked[site] or _address_problem(payload)
        yield problem or payload, _context_of(payload, received_at)


def _check_key(sites: Sites, site: str, key: str) -> None:
    if problem := _key_problem(sites, site, key):
        raise problem


def _key_problem(sites: Sites, site: str, key: str) -> InvalidPayload | None:
    known = sites.by_name.get(site)
    if known is None:
        return InvalidPayload(Reason.UNKNOWN_SITE, "no such site is configured", status=404, field="site")
    if not known.accepts_key(key):
        return InvalidPayload(Reason.KEY_NOT_ALLOWED, "this key is not one of the site's", status=403)
    return None


def _receipts(
    service: Service, outcome: Outcome, payloads: list[ServerPayload | InvalidPayload], received_at: int
) -> Iterator[Receipt]:
    """Receipts of the accepted events, then of the dropped ones."""
    acknowledged_at = service.clock()
    for event, placed in zip(outcome.events, outcome.placements, strict=True):
        yield Receipt(
            site=event.site,
            received_at=received_at,
            visitor=event.visitor,
            event_id=event.event_id,
            session_id=event.session_id,
            occurred_at=event.occurred_at,
            acknowledged_at=acknowledged_at,
            shard_id=placed.shard_id,
            sequence_number=placed.sequence_number,
            index=placed.index,
        )
    for dropped in outcome.dropped:
        payload = payloads[dropped.index]
        site = "" if isinstance(payload, InvalidPayload) else payload.site
        yield Receipt(site=site or service.sites().default, received_at=received_at, reason=str(dropped.reason))


def _context_of(payload: ServerPayload, received_at: int) -> Context:
    if payload.visitor_id and not payload.user_id:
        payload.user_id = payload.visitor_id
    return Context(
        received_at=received_at,
        client_address=payload.client_address or "",
        user_agent=payload.user_agent or "",
        opted_out=bool(payload.anonymous),
    )


def _address_problem(payload: ServerPayload) -> InvalidPayload | None:
    if not payload.client_address:
        return None
    try:
        # One spelling for each address, so that a visitor stays one.
        payload.client_address = ipaddress.ip_address(payload.client_address.strip()).compressed
    except ValueError:
        # The cause would have the text in it.
        return InvalidPayload(Reason.INVALID_ADDRESS, "this is no IPv4 or IPv6 address", field="client_address")
    return None
