"""A payload becomes an event: everything that needs the outside world is decided here, once.

In: a payload, its context and its sender. Out: an `Event` that is valid by construction, or the reason to drop it.
Refusals are raised as `InvalidPayload`. The client address ends here, in a hash: it is in nothing that comes out.
"""

from __future__ import annotations

from functools import lru_cache

from ingest.contract import limits
from ingest.contract.reasons import Reason
from ingest.contract.text import clean, clean_phrase
from ingest.enrichment.geo import primary_language
from ingest.enrichment.landing import Arrival, UrlRules, arrival_at
from ingest.enrichment.user_agents import classify
from ingest.pipeline.admission import check_rate, excludes_page
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.event_time import occurred_at
from ingest.pipeline.identity import SaltOf, cookieless_visitor, event_id
from ingest.pipeline.money import minor_units
from ingest.pipeline.payload import Payload, Props
from ingest.pipeline.sender import Sender
from liveinsight.model.buckets import local_day_and_hour
from liveinsight.model.errors import InvalidPayload
from liveinsight.model.events import CONVERSION, PAGE_VIEW, Element, Event, PropertyValue
from liveinsight.model.ids import known_visitor


def enrich(payload: Payload, context: Context, sender: Sender, policy: Policy, salt_of: SaltOf) -> Event | Reason:
    """The event that `payload` tells of; a `Reason` when it is valid, but not to be counted."""
    received = context.received_at
    site = sender.site
    if policy.rates:
        check_rate(site, context, policy.rates)
    event_type = _event_type(payload.event_type)
    arrival = _arrival(payload, event_type, sender.urls)
    occurred = occurred_at(payload.timestamp, payload.sent_at, received, policy.max_age_ms)
    revenue, currency = minor_units(payload.revenue) if payload.revenue else (0, "")
    props = _props(payload.props) if payload.props else None

    if sender.excluded:
        return sender.excluded
    if excludes_page(site, arrival.page):
        return Reason.EXCLUDED_PATH
    user_agent, agent = sender.user_agent, sender.agent
    if sender.relays and payload.user_agent:
        user_agent = clean(payload.user_agent, limits.MAX_USER_AGENT)
        agent = classify(user_agent)
    if agent.bot and sender.drops_bots:
        return Reason.BOT
    if sender.in_data_centre:
        return Reason.DATA_CENTRE

    user_id = "" if sender.anonymous else clean(payload.user_id, limits.MAX_ID)
    session_id = "" if sender.anonymous else clean(payload.session_id, limits.MAX_ID)
    visitor = (
        known_visitor(site.name, user_id)
        if user_id
        else cookieless_visitor(salt_of(occurred, received), site.name, context.client_address, user_agent)
    )
    day, hour = local_day_and_hour(occurred, site.zone)

    # By position, in the order in which they are declared: names would take as long as all else here.
    event = Event(
        site.name,
        visitor,
        event_id(site.name, visitor, session_id, payload, received),
        event_type,
        occurred,
        received,
        day,
        hour,
        received - occurred <= limits.RECENT_MS,
        session_id,
        user_id,
        arrival.name,
        arrival.url,
        clean_phrase(payload.title, limits.MAX_TITLE),
        arrival.referrer,
        arrival.source,
        arrival.channel,
        arrival.utm_source,
        arrival.utm_medium,
        arrival.utm_campaign,
        arrival.utm_term,
        arrival.utm_content,
        sender.place.country,
        agent.device,
        agent.browser,
        agent.os,
        primary_language(payload.language or "") or sender.language,
        # Other events would show up in the breakdown of conversions with none of their own.
        clean_phrase(payload.conversion_type, limits.MAX_CONVERSION_TYPE) if event_type == CONVERSION else "",
        revenue,
        currency,
        _bounded(payload.engaged_ms, limits.MAX_ENGAGED_MS),
        _bounded(payload.scroll_percent, limits.MAX_SCROLL_PERCENT),
        _bounded(payload.screen_width, limits.MAX_SCREEN_WIDTH),
        _element(payload),
        props,
        site.session_gap,
        sender.place.region,
    )
    return policy.guard.admit(event, site.max_values) if policy.guard else event


@lru_cache(maxsize=1024)
def _event_type(given: str | None) -> str:
    event_type = clean(given, limits.MAX_EVENT_TYPE)
    if not event_type:
        raise InvalidPayload(Reason.MISSING_FIELD, "every event needs a type", field="event_type")
    if event_type.startswith("$"):
        raise InvalidPayload(Reason.RESERVED_NAME, "types that start with $ are ours", field="event_type")
    return event_type


def _arrival(payload: Payload, event_type: str, rules: UrlRules) -> Arrival:
    arrival = arrival_at(payload.page_url or "", payload.referrer or "", rules)
    if arrival is None:
        raise InvalidPayload(Reason.INVALID_URL, "use an http(s) URL, or a path that starts with /", field="page_url")
    if event_type == PAGE_VIEW and not arrival.url:
        raise InvalidPayload(Reason.MISSING_FIELD, "a page view needs the page's URL", field="page_url")
    return arrival


def _props(sent: Props) -> Props | None:
    props: Props = {}
    size = 0
    for given, value in sent.items():
        name = clean(given, limits.MAX_PROP_NAME)
        if name:
            props[name] = kept = _prop_value(value)
            size += len(name.encode()) + (len(kept.encode()) if isinstance(kept, str) else 0)
    if size > limits.MAX_PROPS_BYTES:
        message = f"properties are larger than {limits.MAX_PROPS_BYTES} bytes"
        raise InvalidPayload(Reason.TOO_LONG, message, field="props")
    return props or None


def _prop_value(value: PropertyValue) -> PropertyValue:
    if isinstance(value, str):
        return clean_phrase(value, limits.MAX_PROP_VALUE)
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        return value
    # A browser's numbers are floats: 1e20 arrives as twenty digits, and is exact as a float again.
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidPayload(Reason.OUT_OF_RANGE, "a property's number is too large", field="props") from error


def _bounded(number: int | float | None, most: int) -> int:
    if not number or number < 0:
        return 0
    return int(min(number, most))


def _element(payload: Payload) -> Element | None:
    if not (payload.element_tag or payload.element_id or payload.element_class or payload.element_text):
        return None
    return Element(
        tag=clean(payload.element_tag, limits.MAX_ELEMENT_TAG),
        id=clean(payload.element_id, limits.MAX_ELEMENT_ID),
        classes=clean_phrase(payload.element_class, limits.MAX_ELEMENT_CLASSES),
        text=clean_phrase(payload.element_text, limits.MAX_ELEMENT_TEXT),
    )
