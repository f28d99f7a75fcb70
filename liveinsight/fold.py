"""The fold: one event and the visitor's state just before it give contributions to counters.

A pure function of the record and the stored state: that is what makes a replay give the same numbers.

                     10:00 view /a      10:01 view /b             10:04 click
    totals 10:00     +1 pageview        +1 pageview               +1 click
    visit  10:00     +1 visit +1 bounce -1 bounce +60 s           +180 s
    entry /a         the whole visit    its changes               its changes
    exit  /a         the whole visit    -(the visit as it was)
    exit  /b                            +(the visit as it is)     its changes
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from liveinsight.buckets import minute_of, quarter_of
from liveinsight.events import PAGE_VIEW, Event
from liveinsight.rollups import FROM_SESSION, Measures, event_measures, event_rows
from liveinsight.sessions import Session, VisitorState, advance, remember_id

CounterKey = tuple[Literal["totals", "dimension", "minute"], str, int, str, str]
"""(kind, site, bucket, dimension, value). The bucket is a 15-minute bucket, a local day, or a minute."""

Contribution = tuple[CounterKey, Measures, int, int]
"""(counter, measures to add, local hour of the page views or -1, visitor to add to the sketch or 0)."""


class Folded(NamedTuple):
    """What an event adds, and the session it belongs to ("" when it adds nothing to any)."""

    contributions: list[Contribution]
    session_id: str


MINUTES_KEPT = 24 * 60
"""A visitor's previous minute is left alone when it is further back than this."""

_DUPLICATE: Measures = {"duplicates": 1}
_ACTIVE: Measures = {"active": 1}
_ACTIVE_VIEW: Measures = {"active": 1, "pageviews": 1}
_VIEW: Measures = {"pageviews": 1}
_LEFT: Measures = {"active": -1}


def totals_key(site: str, quarter: int) -> CounterKey:
    """Counter of everything in one 15-minute UTC bucket."""
    return ("totals", site, quarter, "", "")


def minute_key(site: str, minute: int) -> CounterKey:
    """Counter of one live minute: page views, and the recency histogram."""
    return ("minute", site, minute, "", "")


def dimension_key(site: str, day: int, dimension: str, value: str) -> CounterKey:
    """Counter of one dimension value on one site-local day."""
    return ("dimension", site, day, dimension, value)


def fold(state: VisitorState, event: Event, mark: str) -> Folded:
    """Fold one event into `state` (changed in place) and return what it adds to counters.

    A mark at or below the state's contributes nothing: its counters are in already, because counters
    are always written before the session items.
    """
    if mark <= state.mark:
        return Folded([], "")
    state.mark = mark
    state.received_at = max(state.received_at, event.received_at)
    totals = totals_key(event.site, quarter_of(event.occurred_at))
    if not remember_id(state, event.event_id):
        return Folded([(totals, _DUPLICATE, -1, 0)], "")
    measures = event_measures(event)
    contributions: list[Contribution] = [(totals, measures, -1, event.visitor)]
    for name, value in event_rows(event):
        contributions.append((dimension_key(event.site, event.day, name, value), measures, event.hour, event.visitor))
    before, after = advance(state, event)
    _book_visit(event, before, after, contributions)
    if event.recent:
        _book_minute(state, event, contributions)
    return Folded(contributions, after.id)


def _book_minute(state: VisitorState, event: Event, contributions: list[Contribution]) -> None:
    minute = minute_of(event.occurred_at)
    viewed = event.type == PAGE_VIEW
    if minute > state.last_minute:
        if state.last_minute and minute - state.last_minute <= MINUTES_KEPT:
            contributions.append((minute_key(event.site, state.last_minute), _LEFT, -1, 0))
        state.last_minute = minute
        measures = _ACTIVE_VIEW if viewed else _ACTIVE
        contributions.append((minute_key(event.site, minute), measures, -1, event.visitor))
    elif viewed:
        contributions.append((minute_key(event.site, minute), _VIEW, -1, event.visitor))


def _book_visit(event: Event, before: Session | None, after: Session, contributions: list[Contribution]) -> None:
    """Bring the visit's rows from what `before` says to what `after` says."""
    site = event.site
    new_rows = _rows(after)
    if before is None:
        contributions.append((totals_key(site, after.quarter), _outcome(after, 1), -1, 0))
        _book_rows(event, after, new_rows, _bundle(after, 1), contributions)
        return
    old_rows = _rows(before)
    moved = before.started_at != after.started_at and (
        before.quarter != after.quarter or before.day != after.day or before.hour != after.hour
    )
    if before.quarter != after.quarter:
        contributions.append((totals_key(site, before.quarter), _outcome(before, -1), -1, 0))
        contributions.append((totals_key(site, after.quarter), _outcome(after, 1), -1, 0))
    elif outcome := _difference(before, after):
        contributions.append((totals_key(site, after.quarter), outcome, -1, 0))
    if moved:
        stay: set[tuple[str, str]] = set()
    else:
        stay = set(old_rows).intersection(new_rows)
        changes = _difference(before, after)
        for name, amount in event_measures(event).items():
            changes[name] = changes.get(name, 0) + amount
        _book_rows(event, after, [row for row in new_rows if row in stay], changes, contributions)
    if len(stay) < len(new_rows) or len(stay) < len(old_rows):
        gone = [row for row in old_rows if row not in stay]
        come = [row for row in new_rows if row not in stay]
        _book_rows(event, before, gone, _bundle(before, -1), contributions)
        _book_rows(event, after, come, _bundle(after, 1), contributions)


def _rows(session: Session) -> list[tuple[str, str]]:
    rows = list(session.attributes.items())
    for name, field in FROM_SESSION:
        if value := getattr(session, field):
            rows.append((name, value))
    return rows


def _book_rows(
    event: Event,
    session: Session,
    rows: list[tuple[str, str]],
    measures: Measures,
    contributions: list[Contribution],
) -> None:
    site, day, hour, visitor = event.site, session.day, session.hour, event.visitor
    for name, value in rows:
        contributions.append((("dimension", site, day, name, value), measures, hour, visitor))


def _outcome(session: Session, sign: int) -> Measures:
    """What totals hold of a visit: the rest of it is booked event by event."""
    outcome = {"visits": sign}
    if session.bounced:
        outcome["bounces"] = sign
    if session.duration_ms:
        outcome["duration_ms"] = sign * session.duration_ms
    return outcome


def _difference(before: Session, after: Session) -> Measures:
    difference = {}
    if bounces := after.bounced - before.bounced:
        difference["bounces"] = bounces
    if duration := after.duration_ms - before.duration_ms:
        difference["duration_ms"] = duration
    return difference


def _bundle(session: Session, sign: int) -> Measures:
    """A whole visit: its outcome and the sums of its events."""
    bundle = _outcome(session, sign)
    for name, amount in session.measures.items():
        bundle[name] = sign * amount
    return bundle
