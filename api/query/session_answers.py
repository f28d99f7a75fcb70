"""Types of answers that are made from sessions and their events, with the names of payloads and legacy endpoints.

In: visitors' states and timeline events. Out: rows of the list of active sessions and of a session's timeline.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, Struct, UnsetType

from liveinsight.counting.sessions import SESSION_GAP_MS, Session, VisitorState
from liveinsight.counting.timeline import TimelineEvent
from liveinsight.model.currencies import major_units
from liveinsight.model.events import Element, PropertyValue


class ActiveSession(Struct, kw_only=True, forbid_unknown_fields=True):
    """A session with activity in the last 30 minutes. Times are epoch ms; `duration` is ms since the last activity.

    `left`: its last event is an exit from a page.
    """

    session_id: str
    user_id: str
    last_activity: int
    current_page: str
    duration: int
    started_at: int
    entry_page: str
    title: str
    source: str
    channel: str
    country: str
    device: str
    browser: str
    os: str
    pageviews: int
    events: int
    left: bool


class Revenue(Struct, kw_only=True, forbid_unknown_fields=True):
    """An amount in major units."""

    amount: float
    currency: str


class SessionEvent(Struct, kw_only=True, forbid_unknown_fields=True):
    """One event of a session; `timestamp` is epoch ms. Empty optional fields are left out."""

    event_type: str
    user_id: str
    session_id: str
    timestamp: int
    page_url: str
    referrer: str
    title: str | UnsetType = UNSET
    element_tag: str | UnsetType = UNSET
    element_id: str | UnsetType = UNSET
    element_class: str | UnsetType = UNSET
    element_text: str | UnsetType = UNSET
    conversion_type: str | UnsetType = UNSET
    revenue: Revenue | UnsetType = UNSET
    engaged_ms: int | UnsetType = UNSET
    scroll_percent: int | UnsetType = UNSET
    screen_width: int | UnsetType = UNSET
    language: str | UnsetType = UNSET
    props: dict[str, PropertyValue] | UnsetType = UNSET


def active_sessions(states: Iterable[VisitorState], now: int, limit: int) -> list[ActiveSession]:
    """The sessions of `states` that are active at `now`, the latest first."""
    sessions = [session for state in states for session in state.sessions if now - session.last_at <= SESSION_GAP_MS]
    sessions.sort(key=lambda session: (-session.last_at, session.id))
    return [_active(session, now) for session in sessions[:limit]]


def _active(session: Session, now: int) -> ActiveSession:
    attribute = session.attributes.get
    return ActiveSession(
        session_id=session.id,
        user_id=session.user_id,
        last_activity=session.last_at,
        current_page=session.current_page,
        duration=max(0, now - session.last_at),
        started_at=session.started_at,
        entry_page=session.entry_page,
        title=session.title,
        source=attribute("source", ""),
        channel=attribute("channel", ""),
        country=attribute("country", ""),
        device=attribute("device", ""),
        browser=attribute("browser", ""),
        os=attribute("os", ""),
        pageviews=session.measures.get("pageviews", 0),
        events=session.measures.get("events", 0),
        left=session.left,
    )


def session_event(event: TimelineEvent, session_id: str) -> SessionEvent:
    """One event of a session."""
    element = event.element or Element()
    return SessionEvent(
        event_type=event.type,
        user_id=event.user_id,
        session_id=session_id,
        timestamp=event.occurred_at,
        page_url=event.page_url,
        referrer=event.referrer,
        title=event.title or UNSET,
        element_tag=element.tag or UNSET,
        element_id=element.id or UNSET,
        element_class=element.classes or UNSET,
        element_text=element.text or UNSET,
        conversion_type=event.conversion_type or UNSET,
        revenue=_revenue(event),
        engaged_ms=event.engaged_ms or UNSET,
        scroll_percent=event.scroll_percent or UNSET,
        screen_width=event.screen_width or UNSET,
        language=event.language or UNSET,
        props=event.props or UNSET,
    )


def _revenue(event: TimelineEvent) -> Revenue | UnsetType:
    if not (event.revenue and event.currency):
        return UNSET
    return Revenue(amount=major_units(event.revenue, event.currency), currency=event.currency)
