"""Events of browsers: ``/collect`` for scripts, and ``/collect.gif`` for pages without scripts.

In: the request of a page. Out: the answer once its events are acknowledged. For the image the answer is always one
transparent pixel; a header has the reason when the event is refused or dropped.

    <img src="https://stats.example.com/collect.gif?site=blog" referrerpolicy="no-referrer-when-downgrade" alt="">
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from ingest.enrichment.geo import NOWHERE, place_of_headers
from ingest.http.answers import ANY_ORIGIN, NOT_STORED, answer, json_response
from ingest.http.request_headers import check_body_is_readable, page_origin
from ingest.http.response_headers import REQUEST_ID_KEY
from ingest.http.service import Service
from ingest.pipeline.context import Context
from ingest.pipeline.parsing import payload_from
from ingest.pipeline.payload import Payload
from liveinsight.model.events import PAGE_VIEW

PIXEL_PATH = "/collect.gif"
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
REASON_HEADER = "X-LiveInsight-Reason"
PIXEL_PARAMETERS = {
    "site": "which site; absent means the default one",
    "url": "the page; absent means what the Referer header says",
    "referrer": "where the visitor came from",
    "event_type": "what happened; absent means page_view",
}
_FIELDS = {"url": "page_url"}
_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "86400"),
)


def collect(service: Service) -> Response:
    """POST /collect."""
    environ = request.environ
    check_body_is_readable(environ)
    outcome = service.pipeline.collect(service.read_body(environ), _context_of(service, environ))
    response = json_response(*answer(outcome, environ[REQUEST_ID_KEY]), ANY_ORIGIN)
    if response.status_code == 429:
        response.headers["Retry-After"] = str(outcome.retry_after)
    return response


def preflight(_: Service) -> Response:
    """OPTIONS /collect. The site of each event decides which origins may send it, so any origin may ask."""
    return Response(status=204, headers=[*_PREFLIGHT, *ANY_ORIGIN])


def pixel(service: Service) -> Response:
    """GET /collect.gif. Errors become an image, too (see `ingest.http.routes`)."""
    # A HEAD request asks only whether there is an image: no page was viewed.
    if request.method == "HEAD":
        return image(200)
    payload = _payload_of(request.args, request.environ.get("HTTP_REFERER", ""))
    outcome = service.pipeline.collect_each([(payload, _context_of(service, request.environ))])
    for refused in outcome.refused:
        wait = outcome.retry_after if refused.error.status == 429 else 0
        return image(refused.error.status, refused.error.reason, wait)
    return image(200, outcome.dropped[0].reason if outcome.dropped else "")


def image(status: int, reason: str = "", retry_after: int = 0) -> Response:
    """The image as a response, with the reason why the event is refused or dropped."""
    headers = [NOT_STORED]
    if reason:
        headers.append((REASON_HEADER, str(reason)))
    if retry_after:
        headers.append(("Retry-After", str(retry_after)))
    return Response(PIXEL, status, headers, content_type="image/gif")


def _payload_of(query: Mapping[str, str], referer: str) -> Payload:
    """The payload of a request for the image. Unknown parameters are ignored.

    Raises:
        InvalidPayload: names the field at fault.
    """
    given = {_FIELDS.get(name, name): query[name] for name in PIXEL_PARAMETERS if query.get(name)}
    return payload_from({"event_type": PAGE_VIEW, "page_url": referer, **given})


def _context_of(service: Service, environ: Mapping[str, Any]) -> Context:
    """What the request says beside its payload."""
    place = place_of_headers(environ) if service.behind_proxy else NOWHERE
    return Context(
        received_at=service.clock(),
        client_address=environ.get("REMOTE_ADDR", ""),
        user_agent=environ.get("HTTP_USER_AGENT", ""),
        accept_language=environ.get("HTTP_ACCEPT_LANGUAGE", ""),
        country=place.country,
        region=place.region,
        origin=page_origin(environ) or "",
        opted_out=environ.get("HTTP_DNT") == "1" or environ.get("HTTP_SEC_GPC") == "1",
    )
