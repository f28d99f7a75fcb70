"""Views beside those of events: limits, the browser script, health and metrics.

Limits are public, so that clients need not find them out by trial. Origins and exclusions are not shown.
"""

from __future__ import annotations

from flask import Response, abort, request
from msgspec import Struct

from ingest.contract import limits as contract
from ingest.http.answers import ANY_ORIGIN, Health, error, json_response
from ingest.http.readiness import MESSAGES
from ingest.http.response_headers import request_id
from ingest.http.service import Service
from ingest.pipeline.sender import site_of
from liveinsight.counting.sessions import MAX_RECENT_IDS
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.runtime.metrics import CONTENT_TYPE
from liveinsight.sites.site import Site

_TRACKER_MAX_AGE_SECONDS = 3600


class RequestLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """Limits of a request. A larger one, or one with a compressed body, is refused as a whole."""

    max_body_bytes: int = contract.MAX_BODY_BYTES
    max_events: int = contract.MAX_EVENTS


class TimeLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """Older events are refused, and those further in the future. Events younger than `live_ms` count as live."""

    max_age_ms: int = contract.MAX_AGE_MS
    max_future_ms: int = contract.MAX_FUTURE_MS
    live_ms: int = contract.RECENT_MS


class DuplicateLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """A duplicate is recognised by its id among this many events of its visitor."""

    events_per_visitor: int = MAX_RECENT_IDS


class SiteLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """A site's own limits; null means no limit. Rates are per process and `period_ms`, which is also the burst."""

    site: str
    session_gap_minutes: int
    values_per_day_and_dimension: int
    events_per_address: int | None
    events_per_site: int | None
    period_ms: int = MINUTE_MS


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """All limits. Lengths are in characters unless a name has the unit."""

    request: RequestLimits
    refused_beyond: dict[str, int]
    cut_beyond: dict[str, int]
    times: TimeLimits
    duplicates: DuplicateLimits
    site: SiteLimits | None


REFUSED_BEYOND = {
    "id": contract.MAX_ID,
    "site": contract.MAX_ID,
    "user_id": contract.MAX_ID,
    "session_id": contract.MAX_ID,
    "page_url": contract.MAX_URL,
    "referrer": contract.MAX_URL,
    "event_type": contract.MAX_EVENT_TYPE,
    "conversion_type": contract.MAX_CONVERSION_TYPE,
    "props": contract.MAX_PROPS,
    "props_name": contract.MAX_PROP_NAME,
    "props_value": contract.MAX_PROP_VALUE,
    "props_bytes": contract.MAX_PROPS_BYTES,
    "revenue_amount": contract.MAX_AMOUNT,
}
CUT_BEYOND = {
    "page": contract.MAX_PAGE,
    "title": contract.MAX_TITLE,
    "user_agent": contract.MAX_USER_AGENT,
    "element_tag": contract.MAX_ELEMENT_TAG,
    "element_id": contract.MAX_ELEMENT_ID,
    "element_class": contract.MAX_ELEMENT_CLASSES,
    "element_text": contract.MAX_ELEMENT_TEXT,
    "utm": contract.MAX_CAMPAIGN_FIELD,
    "engaged_ms": contract.MAX_ENGAGED_MS,
    "scroll_percent": contract.MAX_SCROLL_PERCENT,
    "screen_width": contract.MAX_SCREEN_WIDTH,
}


def limits_of(site: Site | None) -> Limits:
    """All limits, with those of `site` if it is given."""
    own = None
    if site:
        own = SiteLimits(
            site=site.name,
            session_gap_minutes=site.session_gap,
            values_per_day_and_dimension=site.max_values,
            events_per_address=site.address_rate or None,
            events_per_site=site.site_rate or None,
        )
    return Limits(
        request=RequestLimits(),
        refused_beyond=REFUSED_BEYOND,
        cut_beyond=CUT_BEYOND,
        times=TimeLimits(),
        duplicates=DuplicateLimits(),
        site=own,
    )


def limits(service: Service) -> Response:
    """GET /v1/limits."""
    sites, name = service.sites(), request.args.get("site")
    return json_response(200, limits_of(site_of(sites, name) if name or sites.default else None), ANY_ORIGIN)


def tracker(service: Service) -> Response:
    """GET /tracker.js."""
    try:
        script = service.tracker_file.read_bytes()
    except FileNotFoundError:
        abort(404)
    response = Response(script, mimetype="text/javascript")
    response.cache_control.public = True
    response.cache_control.max_age = _TRACKER_MAX_AGE_SECONDS
    response.add_etag()
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.make_conditional(request)
    return response


def healthz(_: Service) -> Response:
    """GET /healthz: the process is alive."""
    return json_response(200, Health(status="ok"), ANY_ORIGIN)


def readyz(service: Service) -> Response:
    """GET /readyz: events can be taken."""
    trouble = service.readiness.trouble()
    if trouble:
        return json_response(503, error(trouble, MESSAGES[trouble], request_id()), ANY_ORIGIN)
    return json_response(200, Health(status="ok"), ANY_ORIGIN)


def metrics(service: Service) -> Response:
    """GET /metrics, for Prometheus."""
    return Response(service.metrics.render(), content_type=CONTENT_TYPE)
