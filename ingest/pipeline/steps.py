"""The steps that make an event of a payload. `STEPS` is the order in which an event is refused, read and dropped.

In: a payload, its request's context, the rules of its site. Out: an `Event` that is valid by construction, or the
`Reason` to drop it; refusals are raised as `InvalidPayload`, and no message holds anything that a client has sent. The
client address ends here, in a hash: it is in nothing that comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ingest.contract import limits
from ingest.contract.reasons import Reason
from ingest.contract.text import clean, clean_phrase
from ingest.enrichment.geo import primary_language
from ingest.enrichment.landing import Landing, landing_of
from ingest.enrichment.paths import group_of
from ingest.enrichment.user_agents import Agent, classify
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.event_time import occurred_at
from ingest.pipeline.identity import SaltOf, cookieless_visitor, event_id
from ingest.pipeline.money import minor_units
from ingest.pipeline.payload import Payload, Props
from ingest.pipeline.sender import RequestSenders, Sender
from liveinsight.model.buckets import local_day_and_hour
from liveinsight.model.errors import InvalidPayload
from liveinsight.model.events import CONVERSION, PAGE_VIEW, Element, Event, PropertyValue
from liveinsight.model.ids import known_visitor


class Draft:
    """What is known of one event so far: the first line is given, each other line is set by the step of that name."""

    __slots__ = (
        "agent",
        "context",
        "currency",
        "event_type",
        "landing",
        "occurred_at",
        "payload",
        "policy",
        "props",
        "revenue",
        "salt_of",
        "sender",
        "senders",
        "session_id",
        "user_agent",
        "user_id",
        "visitor",
    )  # fmt: skip

    sender: Sender
    event_type: str
    landing: Landing
    occurred_at: int
    revenue: int
    currency: str
    props: Props | None
    user_agent: str
    agent: Agent
    user_id: str
    session_id: str
    visitor: int

    def __init__(
        self, payload: Payload, context: Context, senders: RequestSenders, policy: Policy, salt_of: SaltOf
    ) -> None:
        self.payload = payload
        self.context = context
        self.senders = senders
        self.policy = policy
        self.salt_of = salt_of


Step = Callable[[Draft], Reason | None]
"""Adds to the draft. Returns the reason to drop the event, if there is one; raises `InvalidPayload` to refuse it."""


def make_event(draft: Draft) -> Event | Reason:
    """The event, or why it is valid but not counted.

    Raises:
        InvalidPayload: the event is refused.
        StoreUnavailable: the day's salt is needed and cannot be read.
    """
    for step in STEPS:
        if reason := step(draft):
            return reason
    return _cap_values(draft, _event(draft))


def find_sender(draft: Draft) -> None:
    """Refuse unknown sites, and origins that the site does not allow."""
    draft.sender = draft.senders.of(draft.payload.site, draft.context)


def refuse_above_rate(draft: Draft) -> None:
    """Refuse events above the rate of their address or site; others count towards it."""
    rates, context = draft.policy.rates, draft.context
    seconds = rates.wait(draft.sender.site, context.client_address, context.received_at) if rates else 0
    if seconds:
        message = "too many events from here or for this site; send it again later"
        raise InvalidPayload(Reason.RATE_LIMITED, message, status=429, retry_after=seconds)


def read_type(draft: Draft) -> None:
    """Refuse events without a type, or with a reserved one."""
    draft.event_type = _event_type(draft.payload.event_type)


def read_landing(draft: Draft) -> None:
    """Refuse URLs that are neither http(s) nor a path; page, referrer, source and campaign follow from the URLs."""
    landing = landing_of(draft.payload.page_url or "", draft.payload.referrer or "", draft.sender.urls)
    if landing is None:
        raise InvalidPayload(Reason.INVALID_URL, "use an http(s) URL, or a path that starts with /", field="page_url")
    if draft.event_type == PAGE_VIEW and not landing.url:
        raise InvalidPayload(Reason.MISSING_FIELD, "a page view needs the page's URL", field="page_url")
    draft.landing = landing


def read_time(draft: Draft) -> None:
    """Refuse times that are unreadable, in the future or too old."""
    payload = draft.payload
    received = draft.context.received_at
    draft.occurred_at = occurred_at(payload.timestamp, payload.sent_at, received, draft.policy.max_age_ms)


def read_revenue(draft: Draft) -> None:
    """Refuse amounts and currencies that are none."""
    revenue = draft.payload.revenue
    draft.revenue, draft.currency = minor_units(revenue) if revenue else (0, "")


def read_props(draft: Draft) -> None:
    """Refuse properties that are too large."""
    draft.props = _props(draft.payload.props) if draft.payload.props else None


def drop_excluded_sender(draft: Draft) -> Reason | None:
    """Drop visitors who opted out, and addresses that the site excludes."""
    return draft.sender.excluded


def drop_excluded_path(draft: Draft) -> Reason | None:
    """Drop pages that the site excludes, by their path before grouping."""
    excluded = draft.sender.site.excluded_paths
    if excluded and group_of(draft.landing.page.path, [(glob, glob) for glob in excluded]):
        return Reason.EXCLUDED_PATH
    return None


def drop_bot(draft: Draft) -> Reason | None:
    """Drop bots. A server that relays events gives the user agent in the payload."""
    sender, given = draft.sender, draft.payload.user_agent
    draft.user_agent, draft.agent = sender.user_agent, sender.agent
    if sender.relays and given:
        draft.user_agent = clean(given, limits.MAX_USER_AGENT)
        draft.agent = classify(draft.user_agent)
    return Reason.BOT if draft.agent.bot and sender.drops_bots else None


def drop_data_centre(draft: Draft) -> Reason | None:
    """Drop addresses of data centres."""
    return Reason.DATA_CENTRE if draft.sender.in_data_centre else None


def identify_visitor(draft: Draft) -> None:
    """The visitor: by the page's user id, or else by a hash of address and user agent that lasts for a day."""
    payload, context, sender = draft.payload, draft.context, draft.sender
    draft.user_id = "" if sender.anonymous else clean(payload.user_id, limits.MAX_ID)
    draft.session_id = "" if sender.anonymous else clean(payload.session_id, limits.MAX_ID)
    if draft.user_id:
        draft.visitor = known_visitor(sender.site.name, draft.user_id)
    else:
        salt = draft.salt_of(draft.occurred_at, context.received_at)
        draft.visitor = cookieless_visitor(salt, sender.site.name, context.client_address, draft.user_agent)


STEPS: tuple[Step, ...] = (
    find_sender,
    refuse_above_rate,
    read_type,
    read_landing,
    read_time,
    read_revenue,
    read_props,
    drop_excluded_sender,
    drop_excluded_path,
    drop_bot,
    drop_data_centre,
    identify_visitor,
)


def _event(draft: Draft) -> Event:
    payload, sender, landing, agent = draft.payload, draft.sender, draft.landing, draft.agent
    site, occurred, received = sender.site, draft.occurred_at, draft.context.received_at
    day, hour = local_day_and_hour(occurred, site.zone)
    # Other events would show up in the breakdown of conversions with none of their own.
    conversion_type = payload.conversion_type if draft.event_type == CONVERSION else ""
    return Event(
        site=site.name,
        visitor=draft.visitor,
        event_id=event_id(site.name, draft.visitor, draft.session_id, payload, received),
        type=draft.event_type,
        occurred_at=occurred,
        received_at=received,
        day=day,
        hour=hour,
        recent=received - occurred <= limits.RECENT_MS,
        session_id=draft.session_id,
        user_id=draft.user_id,
        page=landing.name,
        page_url=landing.url,
        title=clean_phrase(payload.title, limits.MAX_TITLE),
        referrer=landing.referrer,
        source=landing.source,
        channel=landing.channel,
        utm_source=landing.utm_source,
        utm_medium=landing.utm_medium,
        utm_campaign=landing.utm_campaign,
        utm_term=landing.utm_term,
        utm_content=landing.utm_content,
        country=sender.place.country,
        region=sender.place.region,
        device=agent.device,
        browser=agent.browser,
        os=agent.os,
        language=primary_language(payload.language or "") or sender.language,
        conversion_type=clean_phrase(conversion_type, limits.MAX_CONVERSION_TYPE),
        revenue=draft.revenue,
        currency=draft.currency,
        engaged_ms=_bounded(payload.engaged_ms, limits.MAX_ENGAGED_MS),
        scroll_percent=_bounded(payload.scroll_percent, limits.MAX_SCROLL_PERCENT),
        screen_width=_bounded(payload.screen_width, limits.MAX_SCREEN_WIDTH),
        element=_element(payload),
        props=draft.props,
        gap_minutes=site.session_gap,
    )


def _cap_values(draft: Draft, event: Event) -> Event:
    guard = draft.policy.guard
    return guard.admit(event, draft.sender.site.max_values) if guard else event


@lru_cache(maxsize=1024)
def _event_type(given: str | None) -> str:
    event_type = clean(given, limits.MAX_EVENT_TYPE)
    if not event_type:
        raise InvalidPayload(Reason.MISSING_FIELD, "every event needs a type", field="event_type")
    if event_type.startswith("$"):
        raise InvalidPayload(Reason.RESERVED_NAME, "types that start with $ are reserved", field="event_type")
    return event_type


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
