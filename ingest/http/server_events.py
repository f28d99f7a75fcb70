"""``/v1/events``: events that servers send with an API key, and what became of them.

A server speaks for its visitors: time, ids, client address and user agent are in the payload, and what says that it is
a bot is not dropped, as a server knows whom it tells of. The limits are those of ``/collect``. A key is a site's own:
each event's site must have it. Browsers cannot use these endpoints from other origins, as no answer allows them to: a
key in a page is no secret.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask, Response, request

from ingest.contract.limits import MAX_ID
from ingest.contract.reasons import Reason
from ingest.contract.text import clean
from ingest.http.answers import receipts
from ingest.http.request_headers import bearer_key, check_body_is_readable
from ingest.http.response_headers import request_id
from ingest.http.responses import json_response
from ingest.pipeline.context import Context
from ingest.pipeline.parsing import BodyParser, Parsed
from ingest.pipeline.payload import ServerPayload
from ingest.pipeline.pipeline import Outcome, Pipeline
from ingest.tracing.receipts import Receipt, read_receipt, write_receipt
from ingest.tracing.trace import TraceStore, trace_id, trace_receipt
from liveinsight.model.clock import Clock
from liveinsight.model.errors import InvalidPayload
from liveinsight.sites.cache import SitesNow

PREFIX = "/v1/events"
_parse = BodyParser(ServerPayload)


class ServerEvents:
    """The views.

    Args:
        pipeline: takes the events; it must not drop bots.
        read_body: gives the body of the current request.
        sites: gives the sites that hold now, which know their keys.
        clock: the time of arrival.
        open_store: gives the store that the worker writes to now.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        read_body: Callable[[Mapping[str, Any]], bytes],
        sites: SitesNow,
        clock: Clock,
        open_store: Callable[[], TraceStore],
    ) -> None:
        self._pipeline = pipeline
        self._read_body = read_body
        self._sites = sites
        self._clock = clock
        self._open_store = open_store

    def add_to(self, app: Flask) -> None:
        """Register the views."""
        app.add_url_rule(PREFIX, "events", self.take, methods=["POST"], provide_automatic_options=False)
        app.add_url_rule(f"{PREFIX}/<path:event_id>/trace", "trace", self.trace, provide_automatic_options=False)

    def take(self) -> Response:
        """POST /v1/events."""
        key = bearer_key(request.environ)
        check_body_is_readable(request.environ)
        received_at = self._clock()
        payloads = _parse(self._read_body(request.environ))
        outcome = self._pipeline.collect_each(self._with_contexts(payloads, key, received_at), locate=True)
        given = self._receipts(outcome, payloads, key, received_at)
        response = json_response(*receipts(outcome, given, request_id()))
        if response.status_code == 429:
            response.headers["Retry-After"] = str(outcome.retry_after)
        return response

    def trace(self, event_id: str) -> Response:
        """GET /v1/events/{id}/trace."""
        key = bearer_key(request.environ)
        receipt = read_receipt(event_id, key)
        if receipt is not None:
            self._check_key(receipt.site, key)
            return json_response(200, trace_receipt(self._open_store(), receipt))
        asked = request.args
        site = asked.get("site") or self._sites().default
        self._check_key(site, key)
        session_id = clean(asked.get("session_id"), MAX_ID)
        user_id = clean(asked.get("user_id"), MAX_ID)
        found = None
        if session_id or user_id:
            found = trace_id(self._open_store(), site, event_id, session_id=session_id, user_id=user_id)
        if found is None:
            raise InvalidPayload(
                Reason.UNKNOWN_RECEIPT,
                "this is no receipt for this key, and no stored event of that session or user has this id",
                status=404,
            )
        return json_response(200, found)

    def _with_contexts(
        self, payloads: list[ServerPayload | InvalidPayload], key: str, received_at: int
    ) -> Iterator[tuple[Parsed, Context]]:
        # Once per request and site, not per event.
        checked: dict[str, InvalidPayload | None] = {}
        for payload in payloads:
            context = Context(received_at=received_at)
            if isinstance(payload, InvalidPayload):
                yield payload, context
                continue
            site = payload.site or self._sites().default
            if site not in checked:
                checked[site] = self._key_problem(site, key)
            problem = checked[site] or _address_problem(payload)
            yield problem or payload, _context_of(payload, received_at)

    def _check_key(self, site: str, key: str) -> None:
        if problem := self._key_problem(site, key):
            raise problem

    def _key_problem(self, site: str, key: str) -> InvalidPayload | None:
        known = self._sites().by_name.get(site)
        if known is None:
            return InvalidPayload(Reason.UNKNOWN_SITE, "no such site is configured", status=404, field="site")
        if not known.accepts_key(key):
            return InvalidPayload(Reason.KEY_NOT_ALLOWED, "this key is not one of the site's", status=403)
        return None

    def _receipts(
        self, outcome: Outcome, payloads: list[ServerPayload | InvalidPayload], key: str, received_at: int
    ) -> list[str]:
        """Receipts of the accepted events, then of the dropped ones."""
        acknowledged_at = self._clock()
        given = [
            Receipt(
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
            for event, placed in zip(outcome.events, outcome.placements, strict=True)
        ]
        for dropped in outcome.dropped:
            payload = payloads[dropped.index]
            named = "" if isinstance(payload, InvalidPayload) else payload.site
            given.append(
                Receipt(site=named or self._sites().default, received_at=received_at, reason=str(dropped.reason))
            )
        return [write_receipt(receipt, key) for receipt in given]


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
