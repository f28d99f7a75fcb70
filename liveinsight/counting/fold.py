"""The fold: what one event adds to which counters, given the visitor's state just before it.

A pure function of the record and the stored state, so a replay gives the same numbers.

                     10:00 view /a      10:01 view /b             10:04 click
    totals 10:00     +1 pageview        +1 pageview               +1 click
    visit  10:00     +1 visit +1 bounce -1 bounce +60 s           +180 s
    entry /a         the whole visit    its changes               its changes
    exit  /a         the whole visit    -(the visit as it was)
    exit  /b                            +(the visit as it is)     its changes
"""

from __future__ import annotations

import msgspec

from liveinsight.counting.contributions import Contribution
from liveinsight.counting.keys import dimension_key, totals_key
from liveinsight.counting.layout import Target, event_group, visit_group
from liveinsight.counting.presence import move_visitor
from liveinsight.counting.rollups import FROM_SESSION, Measures, event_values
from liveinsight.counting.sessions import Session, VisitChange, VisitorState
from liveinsight.model.buckets import QUARTER_MS
from liveinsight.model.events import LEDGER, Event


class Folded(msgspec.Struct, gc=False):
    """What an event adds, the session it belongs to ("" for none), and whether it begins that session."""

    contributions: list[Contribution]
    session_id: str = ""
    begins: bool = False


_DUPLICATE: Measures = {"duplicates": 1}
_REPEATED: Measures = {"events": 1}


def fold(state: VisitorState, event: Event, mark: str) -> Folded:
    """Fold one event into `state` (changed in place) and return what it adds to counters.

    A mark at or below the state's contributes nothing: its counters are stored already, because counters are always
    written before visitor states.
    """
    if mark <= state.mark:
        return Folded([])
    state.mark = mark
    state.received_at = max(state.received_at, event.received_at)
    if not state.remember(event.event_id):
        return Folded(_count_duplicate(event, mark))
    if event.type == LEDGER:
        return Folded(_count_drops(event, mark))
    visit = state.apply(event)
    contributions = [*_change_totals(event, mark, visit), *_change_rows(event, mark, visit)]
    rows = event_group(event.site, event.day, event_values(event))
    contributions.append(Contribution(rows, mark, visit.added, event.hour, event.visitor))
    if event.recent:
        contributions += move_visitor(state, event, mark, visit.after)
    return Folded(contributions, visit.after.id, visit.before is None)


def _count_duplicate(event: Event, mark: str) -> list[Contribution]:
    return [
        Contribution(totals_key(event.site, event.occurred_at // QUARTER_MS), mark, _DUPLICATE),
        Contribution(dimension_key(event.site, event.day, "dropped", "duplicate"), mark, _REPEATED),
    ]


def _count_drops(event: Event, mark: str) -> list[Contribution]:
    """One row per reason for which ingest dropped or refused events."""
    counts = event.props or {}
    return [
        Contribution(dimension_key(event.site, event.day, "dropped", reason), mark, {"events": count})
        for reason, count in counts.items()
        if isinstance(count, int)
    ]


def _change_totals(event: Event, mark: str, visit: VisitChange) -> list[Contribution]:
    """Book the event, and the change of the visit's outcome. Mostly both are in one bucket, so in one contribution."""
    site, before, after = event.site, visit.before, visit.after
    totals = totals_key(site, event.occurred_at // QUARTER_MS)
    if before is None:
        return [Contribution(totals, mark, after.whole(1), -1, event.visitor)]
    old, new = totals_key(site, before.quarter), totals_key(site, after.quarter)
    if totals is old is new or totals == old == new:
        return [Contribution(totals, mark, visit.changes(), -1, event.visitor)]
    contributions = [Contribution(totals, mark, visit.added, -1, event.visitor)]
    if old != new:
        contributions.append(Contribution(old, mark, before.outcome(-1)))
        contributions.append(Contribution(new, mark, after.outcome(1)))
    elif difference := visit.outcome_difference():
        contributions.append(Contribution(new, mark, difference))
    return contributions


def _change_rows(event: Event, mark: str, visit: VisitChange) -> list[Contribution]:
    """Bring the visit's rows from what `before` says to what `after` says.

    Rows that stay get the changes. Where a row changes, or the visit's start moves to another bucket, the old rows
    get the visit as it was taken out and the new ones get it as it is put in.
    """
    site, visitor, before, after = event.site, event.visitor, visit.before, visit.after
    new = _rows(site, after)
    if before is None:
        whole = after.whole(1)
        return [Contribution(row, mark, whole, after.hour, visitor) for row in new if row]
    old = _rows(site, before)
    changes: Measures | None = None
    contributions: list[Contribution] = []
    taken_out: Measures | None = None
    put_in: Measures | None = None
    moved = before.day != after.day or before.hour != after.hour
    for old_row, new_row in zip(old, new, strict=True):
        if old_row == new_row and not moved:
            if new_row:
                changes = changes or visit.changes()
                contributions.append(Contribution(new_row, mark, changes, after.hour, visitor))
            continue
        if old_row:
            taken_out = taken_out or before.whole(-1)
            contributions.append(Contribution(old_row, mark, taken_out, before.hour, visitor))
        if new_row:
            put_in = put_in or after.whole(1)
            contributions.append(Contribution(new_row, mark, put_in, after.hour, visitor))
    return contributions


def _rows(site: str, session: Session) -> list[Target | None]:
    """The rows that a visit is in, always in the same order; None where it has no value."""
    rows: list[Target | None] = [visit_group(site, session.day, session.rows)]
    for name, field in FROM_SESSION:
        value = getattr(session, field)
        rows.append(dimension_key(site, session.day, name, value) if value else None)
    return rows
