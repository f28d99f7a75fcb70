"""The steps that make an event of a payload: `make_event` lists them in the order in which they refuse, drop and read.

In: a payload, its request's context, the rules of its site. Out: an `Event` that is valid by construction, or the
`Reason` to drop it; refusals are raised as `InvalidPayload`, and no message holds anything that a client has sent. The
client address ends here, in a hash: it is in nothing that comes out.
"""

from __future__ import annotations

from functools import lru_cache

from ingest.contract import limits
from ingest.contract.reasons import Reason
from ingest.contract.text import clean, clean_phrase
from ingest.enrichment.geo import primary_language
from ingest.enrichment.landing import Landing, UrlRules, landing_of
from ingest.enrichment.pages import Page
from ingest.enrichment.paths import group_of
from ingest.enrichment.user_agents import Agent, classify
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.event_time import occurred_at
from ingest.pipeline.identity import SaltOf, cookieless_visitor, event_id
from ingest.pipeline.money import minor_units
from ingest.pipeline.payload import Payload, Props
from ingest.pipeline.rate_limits import Rates
from ingest.pipeline.sender import RequestSenders, Sender
from liveinsight.model.buckets import local_day_and_hour
from liveinsight.model.errors import InvalidPayload
from liveinsight.model.events import CONVERSION, PAGE_VIEW, Element, Event, PropertyValue
from liveinsight.model.ids import known_visitor
from liveinsight.sites.site import Site


# Long: it is the list of steps, in their order.
def make_event(
    payload: Payload, context: Context, senders: RequestSenders, policy: Policy, salt_of: SaltOf
) -> Event | Reason:
    """The event, or why it is valid but not counted.

    Raises:
        InvalidPayload: the event is refused.
        StoreUnavailable: the day's salt is needed and cannot be read.
    """
    # Refuse.
    sender = senders.of(payload.site, context)
    site, received = sender.site, context.received_at
    if policy.rates:
        refuse_above_rate(policy.rates, site, context)
    event_type = read_type(payload.event_type)
    landing = read_landing(payload, event_type, sender.urls)
    occurred = occurred_at(payload.timestamp, payload.sent_at, received, policy.max_age_ms)
    revenue, currency = minor_units(payload.revenue) if payload.revenue else (0, "")
    props = read_props(payload.props) if payload.props else None

    # Drop.
    user_agent, agent = sender.user_agent, sender.agent
    if sender.relays and payload.user_agent:
        user_agent = clean(payload.user_agent, limits.MAX_USER_AGENT)
        agent = classify(user_agent)
    if reason := drop_reason(sender, landing.page, agent):
        return reason

    # Identify.
    user_id = "" if sender.anonymous else clean(payload.user_id, limits.MAX_ID)
    session_id = "" if sender.anonymous else clean(payload.session_id, limits.MAX_ID)
    if user_id:
        visitor = known_visitor(site.name, user_id)
    else:
        visitor = cookieless_visitor(salt_of(occurred, received), site.name, context.client_address, user_agent)
    day, hour = local_day_and_hour(occurred, site.zone)

    # In the order of the fields: names would take a fifth as long as all steps together.
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
        landing.name,
        landing.url,
        clean_phrase(payload.title, limits.MAX_TITLE) if payload.title else "",
        landing.referrer,
        landing.source,
        landing.channel,
        landing.utm_source,
        landing.utm_medium,
        landing.utm_campaign,
        landing.utm_term,
        landing.utm_content,
        sender.place.country,
        agent.device,
        agent.browser,
        agent.os,
        primary_language(payload.language or "") or sender.language,
        # Of other types it would show up in the breakdown of conversions.
        clean_phrase(payload.conversion_type, limits.MAX_CONVERSION_TYPE) if event_type == CONVERSION else "",
        revenue,
        currency,
        _bounded(payload.engaged_ms, limits.MAX_ENGAGED_MS) if payload.engaged_ms else 0,
        _bounded(payload.scroll_percent, limits.MAX_SCROLL_PERCENT) if payload.scroll_percent else 0,
        _bounded(payload.screen_width, limits.MAX_SCREEN_WIDTH) if payload.screen_width else 0,
        _element(payload),
        props,
        site.session_gap,
        sender.place.region,
    )
    return policy.guard.admit(event, site.max_values) if policy.guard else event


def refuse_above_rate(rates: Rates, site: Site, context: Context) -> None:
    """Refuse events above the rate of their address or site; others count towards it."""
    if seconds := rates.wait(site, context.client_address, context.received_at):
        message = "too many events from here or for this site; send it again later"
        raise InvalidPayload(Reason.RATE_LIMITED, message, status=429, retry_after=seconds)


@lru_cache(maxsize=1024)
def read_type(given: str | None) -> str:
    """Refuse events without a type, or with a reserved one."""
    event_type = clean(given, limits.MAX_EVENT_TYPE)
    if not event_type:
        raise InvalidPayload(Reason.MISSING_FIELD, "every event needs a type", field="event_type")
    if event_type.startswith("$"):
        raise InvalidPayload(Reason.RESERVED_NAME, "types that start with $ are reserved", field="event_type")
    return event_type


def read_landing(payload: Payload, event_type: str, rules: UrlRules) -> Landing:
    """Refuse URLs that are neither http(s) nor a path; page, referrer, source and campaign follow from the URLs."""
    landing = landing_of(payload.page_url or "", payload.referrer or "", rules)
    if landing is None:
        raise InvalidPayload(Reason.INVALID_URL, "use an http(s) URL, or a path that starts with /", field="page_url")
    if event_type == PAGE_VIEW and not landing.url:
        raise InvalidPayload(Reason.MISSING_FIELD, "a page view needs the page's URL", field="page_url")
    return landing


def drop_reason(sender: Sender, page: Page, agent: Agent) -> Reason | None:
    """Why a valid event is not counted, if so. The first rule that applies decides."""
    if sender.excluded:
        return sender.excluded
    excluded = sender.site.excluded_paths
    if excluded and group_of(page.path, [(glob, glob) for glob in excluded]):
        return Reason.EXCLUDED_PATH
    if agent.bot and sender.drops_bots:
        return Reason.BOT
    return Reason.DATA_CENTRE if sender.in_data_centre else None


def read_props(sent: Props) -> Props | None:
    """Refuse properties that are too large; others are cleaned."""
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


def _bounded(number: int | float, most: int) -> int:
    return int(min(number, most)) if number > 0 else 0


def _element(payload: Payload) -> Element | None:
    if not (payload.element_tag or payload.element_id or payload.element_class or payload.element_text):
        return None
    return Element(
        tag=clean(payload.element_tag, limits.MAX_ELEMENT_TAG),
        id=clean(payload.element_id, limits.MAX_ELEMENT_ID),
        classes=clean_phrase(payload.element_class, limits.MAX_ELEMENT_CLASSES),
        text=clean_phrase(payload.element_text, limits.MAX_ELEMENT_TEXT),
    )
