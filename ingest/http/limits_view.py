"""``GET /v1/limits``: what is taken and what is not, as data, so that clients need not find out by trying.

In: a site. Out: the limits of `ingest.contract.limits` and the site's own. Origins and exclusions are not shown.
"""

from __future__ import annotations

from msgspec import Struct

from ingest.contract import limits
from liveinsight.counting.sessions import MAX_RECENT_IDS
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.sites.site import Site


class RequestLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """Larger requests are refused as a whole. Compressed bodies are not read at all."""

    max_body_bytes: int = limits.MAX_BODY_BYTES
    max_events: int = limits.MAX_EVENTS


class TimeLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """Older events are refused, and those further in the future; `live_ms`: younger ones count as live."""

    max_age_ms: int = limits.MAX_AGE_MS
    max_future_ms: int = limits.MAX_FUTURE_MS
    live_ms: int = limits.RECENT_MS


class DuplicateLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """A repeat is recognised by its id among a visitor's last so many events."""

    events_per_visitor: int = MAX_RECENT_IDS


class SiteLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a site takes; null means no limit. A rate holds per ingest process, and `period_ms` of it at once."""

    site: str
    session_gap_minutes: int
    values_per_day_and_dimension: int
    events_per_address: int | None
    events_per_site: int | None
    period_ms: int = MINUTE_MS


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """All limits. Lengths are in characters unless a name says bytes."""

    request: RequestLimits
    refused_beyond: dict[str, int]
    cut_beyond: dict[str, int]
    times: TimeLimits
    duplicates: DuplicateLimits
    site: SiteLimits | None


REFUSED_BEYOND = {
    "id": limits.MAX_ID,
    "site": limits.MAX_ID,
    "user_id": limits.MAX_ID,
    "session_id": limits.MAX_ID,
    "page_url": limits.MAX_URL,
    "referrer": limits.MAX_URL,
    "event_type": limits.MAX_EVENT_TYPE,
    "conversion_type": limits.MAX_CONVERSION_TYPE,
    "props": limits.MAX_PROPS,
    "props_name": limits.MAX_PROP_NAME,
    "props_value": limits.MAX_PROP_VALUE,
    "props_bytes": limits.MAX_PROPS_BYTES,
    "revenue_amount": limits.MAX_AMOUNT,
}
CUT_BEYOND = {
    "page": limits.MAX_PAGE,
    "title": limits.MAX_TITLE,
    "user_agent": limits.MAX_USER_AGENT,
    "element_tag": limits.MAX_ELEMENT_TAG,
    "element_id": limits.MAX_ELEMENT_ID,
    "element_class": limits.MAX_ELEMENT_CLASSES,
    "element_text": limits.MAX_ELEMENT_TEXT,
    "utm": limits.MAX_CAMPAIGN_FIELD,
    "engaged_ms": limits.MAX_ENGAGED_MS,
    "scroll_percent": limits.MAX_SCROLL_PERCENT,
    "screen_width": limits.MAX_SCREEN_WIDTH,
}


def limits_of(site: Site | None) -> Limits:
    """All limits, with those of a site, if there is one."""
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
