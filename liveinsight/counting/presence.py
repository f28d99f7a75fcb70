"""Presence: which live minute a visitor is counted in, and under which page, source and country.

In: a live event, the visitor's state and session. Out: contributions to the counters of minutes; the state changes in
place. "Active in the last n minutes" is then the sum of n minutes: each visitor is in one minute only.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from liveinsight.counting.contributions import Contribution
from liveinsight.counting.keys import CACHED_KEYS, LIVE, SEEN, minute_key
from liveinsight.counting.rollups import LIVE_OF_EVENT, LIVE_OF_VISIT, Measures, unpack_rows
from liveinsight.counting.sessions import Session, VisitorState
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.model.events import PAGE_VIEW, Event

MINUTES_KEPT = 24 * 60
"""A visitor's previous minute is left alone when it is further back than this."""

_ACTIVE: Measures = {"active": 1}
_VIEW: Measures = {"pageviews": 1}
_LEFT: Measures = {"active": -1}


def move_visitor(state: VisitorState, event: Event, mark: str, session: Session) -> list[Contribution]:
    """Move the visitor into the event's minute, under the page, source and country that it has there.

    A visitor that leaves its last open page is taken out at once. One that falls silent stays in the minute of its
    last event. A late event counts its view and does not move the visitor.
    """
    site, at, visitor = event.site, event.occurred_at, event.visitor
    minute = at // MINUTE_MS
    contributions: list[Contribution] = []
    if event.type == PAGE_VIEW:
        contributions.append(Contribution(minute_key(site, minute), mark, _VIEW, -1, visitor))
    if at < state.seen_at:
        return contributions
    if minute != state.seen_at // MINUTE_MS:
        contributions.append(Contribution(minute_key(site, minute, SEEN), mark, {seen_name(visitor): 1}))
    state.seen_at = at
    old_minute, old = state.last_minute, state.live
    new_minute, new = (0, ()) if state.has_left(session) else (minute, _live_names(event, session, old))
    if old_minute == new_minute:
        if old != new:
            moves = dict.fromkeys(old, -1)
            for name in new:
                moves[name] = moves.get(name, 0) + 1
            contributions.append(Contribution(minute_key(site, minute, LIVE), mark, moves))
            state.live = new
        return contributions
    if old_minute and minute - old_minute <= MINUTES_KEPT:
        contributions.append(Contribution(minute_key(site, old_minute), mark, _LEFT))
        contributions.append(Contribution(minute_key(site, old_minute, LIVE), mark, dict.fromkeys(old, -1)))
    if new_minute:
        contributions.append(Contribution(minute_key(site, minute), mark, _ACTIVE, -1, visitor))
        contributions.append(Contribution(minute_key(site, minute, LIVE), mark, dict.fromkeys(new, 1)))
    state.last_minute, state.live = new_minute, new
    return contributions


def seen_name(visitor: int) -> str:
    """The measure of `SEEN` that says that a visitor was seen: its number in URL-safe base64."""
    return base64.urlsafe_b64encode(visitor.to_bytes(8)).rstrip(b"=").decode()


def seen_visitor(name: str) -> int:
    """Inverse of `seen_name`."""
    return int.from_bytes(base64.urlsafe_b64decode(name + "="))


def live_name(dimension: str, value: str) -> str:
    """The measure of `LIVE` that counts the visitors present at a value of a dimension."""
    return f"{dimension}={value}"


def _live_names(event: Event, session: Session, before: tuple[str, ...]) -> tuple[str, ...]:
    """The names the visitor is counted under, always in the same order. An event without a page keeps the last one."""
    names = _live_of_visit(session.rows)
    for name, field in LIVE_OF_EVENT:
        if value := getattr(event, field):
            names += (live_name(name, value),)
        else:
            names += tuple([known for known in before if known.startswith(name + "=")])
    return names


@lru_cache(CACHED_KEYS)
def _live_of_visit(rows: bytes) -> tuple[str, ...]:
    return tuple(live_name(name, value) for name, value in unpack_rows(rows) if name in LIVE_OF_VISIT)
