"""A payload becomes an event: everything that needs the outside world is decided here, once.

In: a payload and its context. Out: an `Event` that is valid by construction, or the reason to drop it.
Refusals are raised as `InvalidPayload`. The client address ends here (`_visitor`): it is in nothing that comes out.
"""

from __future__ import annotations

from ingest import limits
from ingest.admission import check_sender, exclusion, is_anonymous, site_of
from ingest.context import Context, Policy
from ingest.identity import SaltOf, cookieless_visitor, event_id
from ingest.money import minor_units
from ingest.pages import Page, parse_page, parse_referrer
from ingest.payload import Payload, Props
from ingest.places import NOWHERE, Atlas, Place, primary_language
from ingest.reasons import Reason
from ingest.sources import attribute, own_hosts
from ingest.text import clean, clean_phrase
from ingest.times import occurred_at
from ingest.user_agents import classify, speaker
from liveinsight.buckets import local_day_and_hour
from liveinsight.errors import InvalidPayload
from liveinsight.events import CONVERSION, PAGE_VIEW, Element, Event, PropertyValue
from liveinsight.ids import known_visitor
from liveinsight.sites import Bots, Site, Sites


def enrich(payload: Payload, context: Context, policy: Policy, sites: Sites, salt_of: SaltOf) -> Event | Reason:
    """The event that `payload` tells of; a `Reason` when it is valid, but not to be counted."""
    received = context.received_at
    site = site_of(sites, payload.site)
    check_sender(site, context, policy.rates)
    event_type = _event_type(payload)
    page = _page(payload, event_type, site)
    occurred = occurred_at(payload.timestamp, payload.sent_at, received, policy.max_age_ms)
    revenue, currency = minor_units(payload.revenue) if payload.revenue else (0, "")
    props = _props(payload)

    if reason := exclusion(site, context, page):
        return reason
    user_agent = speaker(context.user_agent, payload.user_agent)
    agent = classify(user_agent)
    drop_bots = site.bots is Bots.DROP if policy.drop_bots is None else policy.drop_bots
    if agent.bot and drop_bots:
        return Reason.BOT
    if drop_bots and policy.data_centres and policy.data_centres.holds(context.client_address):
        return Reason.DATA_CENTRE

    anonymous = is_anonymous(site, context)
    user_id = "" if anonymous else clean(payload.user_id, limits.MAX_ID)
    session_id = "" if anonymous else clean(payload.session_id, limits.MAX_ID)
    visitor = (
        known_visitor(site.name, user_id)
        if user_id
        else cookieless_visitor(salt_of(occurred, received), site.name, context.client_address, user_agent)
    )
    referrer = parse_referrer(clean(payload.referrer, limits.MAX_URL))
    traffic = attribute(page.host, page.query, referrer.host, own_hosts(site.origins))
    place = _place(context, policy.atlas)
    day, hour = local_day_and_hour(occurred, site.zone)

    event = Event(
        site=site.name,
        visitor=visitor,
        event_id=event_id(site.name, visitor, session_id, payload, received),
        type=event_type,
        occurred_at=occurred,
        received_at=received,
        day=day,
        hour=hour,
        recent=received - occurred <= limits.RECENT_MS,
        session_id=session_id,
        user_id=user_id,
        page=page.page,
        page_url=page.url,
        title=clean_phrase(payload.title, limits.MAX_TITLE),
        referrer=referrer.url,
        source=traffic.source,
        channel=traffic.channel,
        utm_source=traffic.campaign.source,
        utm_medium=traffic.campaign.medium,
        utm_campaign=traffic.campaign.name,
        utm_term=traffic.campaign.term,
        utm_content=traffic.campaign.content,
        country=place.country,
        region=place.region,
        device=agent.device,
        browser=agent.browser,
        os=agent.os,
        language=primary_language(payload.language or "") or primary_language(context.accept_language),
        conversion_type=_conversion_type(payload, event_type),
        revenue=revenue,
        currency=currency,
        engaged_ms=_bounded(payload.engaged_ms, limits.MAX_ENGAGED_MS),
        scroll_percent=_bounded(payload.scroll_percent, limits.MAX_SCROLL_PERCENT),
        screen_width=_bounded(payload.screen_width, limits.MAX_SCREEN_WIDTH),
        element=_element(payload),
        props=props,
        gap_minutes=site.session_gap,
    )
    return policy.guard.admit(event, site.max_values) if policy.guard else event


def _place(context: Context, atlas: Atlas | None) -> Place:
    if context.country:
        return Place(context.country, context.region)
    return atlas.place_of(context.client_address) if atlas else NOWHERE


def _event_type(payload: Payload) -> str:
    event_type = clean(payload.event_type, limits.MAX_EVENT_TYPE)
    if not event_type:
        raise InvalidPayload(Reason.MISSING_FIELD, "every event needs a type", field="event_type")
    if event_type.startswith("$"):
        raise InvalidPayload(Reason.RESERVED_NAME, "types that start with $ are ours", field="event_type")
    return event_type


def _page(payload: Payload, event_type: str, site: Site) -> Page:
    url = clean(payload.page_url, limits.MAX_URL)
    if not url and event_type == PAGE_VIEW:
        raise InvalidPayload(Reason.MISSING_FIELD, "a page view needs the page's URL", field="page_url")
    page = parse_page(url, site.query_allow, site.path_groups)
    if page is None:
        raise InvalidPayload(Reason.INVALID_URL, "use an http(s) URL, or a path that starts with /", field="page_url")
    return page


def _props(payload: Payload) -> Props | None:
    if not payload.props:
        return None
    props: Props = {}
    size = 0
    for given, value in payload.props.items():
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


def _conversion_type(payload: Payload, event_type: str) -> str:
    # Other events would show up in the breakdown of conversions with none of their own.
    return clean_phrase(payload.conversion_type, limits.MAX_CONVERSION_TYPE) if event_type == CONVERSION else ""


def _bounded(number: int | float | None, most: int) -> int:
    return int(min(max(number, 0), most)) if number else 0


def _element(payload: Payload) -> Element | None:
    if not (payload.element_tag or payload.element_id or payload.element_class or payload.element_text):
        return None
    return Element(
        tag=clean(payload.element_tag, limits.MAX_ELEMENT_TAG),
        id=clean(payload.element_id, limits.MAX_ELEMENT_ID),
        classes=clean_phrase(payload.element_class, limits.MAX_ELEMENT_CLASSES),
        text=clean_phrase(payload.element_text, limits.MAX_ELEMENT_TEXT),
    )
