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

import base64
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import lru_cache
from typing import Literal, NamedTuple

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.rollups import (
    BESIDE,
    FROM_SESSION,
    LIVE_OF_EVENT,
    LIVE_OF_VISIT,
    Measures,
    event_measures,
    event_rows,
    event_values,
    unpack_rows,
)
from liveinsight.counting.sessions import Session, VisitorState, advance, has_left, remember_id
from liveinsight.model.buckets import MINUTE_MS, QUARTER_MS
from liveinsight.model.events import LEDGER, PAGE_VIEW, Event

CounterKey = tuple[Literal["totals", "dimension", "minute"], str, int, str, str]
"""(kind, site, bucket, dimension, value). The bucket is a 15-minute bucket, a local day, or a minute.

A minute has two more counters: `LIVE` has the present visitors by page, source and country, as measures that
`live_name` names; `SEEN` has the visitors themselves, as measures that `seen_name` names: who has a live event in it.
"""

QUARTERS_PER_ITEM = 4
LIVE = "live"
SEEN = "seen"


class KeyGroup:
    """Counters that always take the same contributions: a visit's rows. Equal only to itself.

    A visit is in some ten rows; as a group they are added up once, at the flush, instead of once per row and event.
    """

    __slots__ = ("homes", "keys")

    def __init__(self, keys: tuple[CounterKey, ...]) -> None:
        self.keys = keys
        self.homes = tuple(home(key) for key in keys)


Target = CounterKey | KeyGroup

Contribution = tuple[Target, str, Measures, int, int]
"""What the event at a mark adds: (counter or counters, mark, measures to add, local hour of the page views or -1,
visitor to add to the sketch or 0)."""


class Folded(NamedTuple):
    """What an event adds, the session it belongs to ("" when it adds nothing to any), and whether it begins that."""

    contributions: list[Contribution]
    session_id: str = ""
    begins: bool = False


MINUTES_KEPT = 24 * 60
"""A visitor's previous minute is left alone when it is further back than this."""

_DUPLICATE: Measures = {"duplicates": 1}
_REPEATED: Measures = {"events": 1}
_ACTIVE: Measures = {"active": 1}
_VIEW: Measures = {"pageviews": 1}
_LEFT: Measures = {"active": -1}


def totals_key(site: str, quarter: int) -> CounterKey:
    """Counter of everything in one 15-minute UTC bucket."""
    return ("totals", site, quarter, "", "")


def minute_key(site: str, minute: int, dimension: str = "") -> CounterKey:
    """Counter of one live minute: page views and the recency histogram, or the latter by a dimension's values."""
    return ("minute", site, minute, dimension, "")


def dimension_key(site: str, day: int, dimension: str, value: str) -> CounterKey:
    """Counter of one dimension value on one site-local day."""
    return ("dimension", site, day, dimension, value)


@lru_cache(maxsize=16_384)
def event_group(site: str, day: int, values: tuple[str, ...]) -> KeyGroup:
    """The rows of events whose `rollups.event_values` are `values`."""
    return KeyGroup(tuple(dimension_key(site, day, name, value) for name, value in event_rows(values)))


@lru_cache(maxsize=16_384)
def visit_group(site: str, day: int, rows: bytes) -> KeyGroup:
    """The rows that the first event of a visit decides."""
    return KeyGroup(tuple(dimension_key(site, day, name, value) for name, value in unpack_rows(rows)))


def home(key: CounterKey) -> tuple[CounterKey, str]:
    """Where a counter is stored: the key of its item, and its name beside that item's own counter ("": it is that).

    A page that is viewed is often the visit's entry or exit page, too: as one item they are one write instead of three.
    The totals of an hour's four quarters are one item: a quiet site then has a write an hour, not one an event.
    """
    kind, site, bucket, dimension, value = key
    if kind == "totals":
        quarter = bucket % QUARTERS_PER_ITEM
        return (("totals", site, bucket - quarter, "", ""), str(quarter)) if quarter else (key, "")
    if host := BESIDE.get(dimension):
        return (kind, site, bucket, host, value), dimension
    return key, ""


def homes(target: Target) -> tuple[tuple[CounterKey, str], ...]:
    """`home` of all counters of `target`."""
    return target.homes if isinstance(target, KeyGroup) else (home(target),)


def beside(item: CounterKey, name: str) -> CounterKey:
    """Inverse of `home`."""
    if not name:
        return item
    kind, site, bucket, _, value = item
    return ("totals", site, bucket + int(name), "", "") if kind == "totals" else (kind, site, bucket, name, value)


def totals_apart(
    items: Iterable[tuple[int, CounterItem]], first_quarter: int, last_quarter: int
) -> list[tuple[int, CounterItem]]:
    """The quarters from first to last that items of totals hold, as (quarter, counter); `items` come by bucket."""
    found = []
    for bucket, item in items:
        for number, counter in [(bucket, item), *((bucket + int(name), one) for name, one in item.beside.items())]:
            if first_quarter <= number <= last_quarter and (counter.measures or counter.sketch is not None):
                found.append((number, counter))
    return found


def stored_apart(items: Iterable[tuple[CounterKey, CounterItem]]) -> Iterator[tuple[CounterKey, CounterItem]]:
    """Stored items counter by counter."""
    for key, item in items:
        yield key, item
        for name, counter in item.beside.items():
            yield beside(key, name), counter


class Cadence(IntEnum):
    """How often a counter is written."""

    FAST = 0
    """Totals and live minutes: a few items whatever the traffic."""
    MEDIUM = 1
    """Who is present where, and who was seen: few items, but large ones."""
    SLOW = 2
    """Breakdowns: one item for each value."""


def cadence_of(key: CounterKey) -> Cadence:
    """When a counter's item is written."""
    if key[0] == "dimension":
        return Cadence.SLOW
    return Cadence.MEDIUM if key[3] else Cadence.FAST


def by_counter(contributions: Iterable[Contribution]) -> Iterator[tuple[CounterKey, Contribution]]:
    """Contributions one counter at a time, groups taken apart."""
    for contribution in contributions:
        target = contribution[0]
        for key in target.keys if isinstance(target, KeyGroup) else (target,):
            yield key, contribution


def fold(state: VisitorState, event: Event, mark: str) -> Folded:
    """Fold one event into `state` (changed in place) and return what it adds to counters.

    A mark at or below the state's contributes nothing: its counters are in already, because counters
    are always written before the session items.
    """
    if mark <= state.mark:
        return Folded([])
    state.mark = mark
    state.received_at = max(state.received_at, event.received_at)
    site, day, visitor = event.site, event.day, event.visitor
    if not remember_id(state, event.event_id):
        totals = totals_key(site, event.occurred_at // QUARTER_MS)
        refused = dimension_key(site, day, "dropped", "duplicate")
        return Folded([(totals, mark, _DUPLICATE, -1, 0), (refused, mark, _REPEATED, -1, 0)])
    if event.type == LEDGER:
        return Folded(_ledger(event, mark))
    measures = event_measures(event)
    before, after = advance(state, event, measures)
    if before is None:
        contributions = _begin_visit(event, mark, after)
    else:
        changes = {**_difference(before, after), **measures}
        contributions = _change_totals(event, mark, changes, before, after)
        contributions += _change_rows(event, mark, changes, before, after)
    contributions.append((event_group(site, day, event_values(event)), mark, measures, event.hour, visitor))
    if event.recent:
        contributions += _book_minute(state, event, mark, after)
    return Folded(contributions, after.id, before is None)


def _ledger(event: Event, mark: str) -> list[Contribution]:
    """What ingest has not let through: a row per reason."""
    counts = event.props or {}
    return [
        (dimension_key(event.site, event.day, "dropped", reason), mark, {"events": count}, -1, 0)
        for reason, count in counts.items()
        if isinstance(count, int)
    ]


def _book_minute(state: VisitorState, event: Event, mark: str, session: Session) -> list[Contribution]:
    """Move the visitor to where it is now: into the event's minute, under the page, source and country it has there.

    Who leaves the last open page is taken out at once; who falls silent stays in the minute of the last event, and
    out of the window with it. An event that arrives late counts its view and moves nobody.
    """
    site, at, visitor = event.site, event.occurred_at, event.visitor
    minute = at // MINUTE_MS
    contributions: list[Contribution] = []
    if event.type == PAGE_VIEW:
        contributions.append((("minute", site, minute, "", ""), mark, _VIEW, -1, visitor))
    if at < state.seen_at:
        return contributions
    if minute != state.seen_at // MINUTE_MS:
        contributions.append((("minute", site, minute, SEEN, ""), mark, {seen_name(visitor): 1}, -1, 0))
    state.seen_at = at
    old_minute, old = state.last_minute, state.live
    gone = has_left(state, session)
    new_minute, new = (0, ()) if gone else (minute, _live_names(event, session, old))
    if old_minute == new_minute:
        if old != new:
            moves = dict.fromkeys(old, -1)
            for name in new:
                moves[name] = moves.get(name, 0) + 1
            contributions.append((("minute", site, minute, LIVE, ""), mark, moves, -1, 0))
            state.live = new
        return contributions
    if old_minute and minute - old_minute <= MINUTES_KEPT:
        contributions.append((("minute", site, old_minute, "", ""), mark, _LEFT, -1, 0))
        contributions.append((("minute", site, old_minute, LIVE, ""), mark, dict.fromkeys(old, -1), -1, 0))
    if new_minute:
        contributions.append((("minute", site, minute, "", ""), mark, _ACTIVE, -1, visitor))
        contributions.append((("minute", site, minute, LIVE, ""), mark, dict.fromkeys(new, 1), -1, 0))
    state.last_minute, state.live = new_minute, new
    return contributions


def seen_name(visitor: int) -> str:
    """The measure that says that a visitor was seen: its number, as short as text can be that is safe anywhere."""
    return base64.urlsafe_b64encode(visitor.to_bytes(8)).rstrip(b"=").decode()


def seen_visitor(name: str) -> int:
    """Inverse of `seen_name`."""
    return int.from_bytes(base64.urlsafe_b64decode(name + "="))


def live_name(dimension: str, value: str) -> str:
    """The measure that counts the visitors present at a value of a dimension."""
    return f"{dimension}={value}"


def _live_names(event: Event, session: Session, before: tuple[str, ...]) -> tuple[str, ...]:
    """Where the visitor is, in an order that is always the same. An event without a page leaves it on the last one."""
    names = _live_of_visit(session.rows)
    for name, field in LIVE_OF_EVENT:
        if value := getattr(event, field):
            names += (live_name(name, value),)
        else:
            names += tuple([known for known in before if known.startswith(name + "=")])
    return names


@lru_cache(maxsize=16_384)
def _live_of_visit(rows: bytes) -> tuple[str, ...]:
    return tuple(live_name(name, value) for name, value in unpack_rows(rows) if name in LIVE_OF_VISIT)


def _begin_visit(event: Event, mark: str, visit: Session) -> list[Contribution]:
    """Book a new visit, and the event in the totals: both are of the same quarter."""
    site, day, hour, visitor = event.site, visit.day, visit.hour, event.visitor
    bundle = _bundle(visit, 1)
    contributions: list[Contribution] = [
        (("totals", site, visit.quarter, "", ""), mark, bundle, -1, visitor),
        (visit_group(site, day, visit.rows), mark, bundle, hour, visitor),
    ]
    for name, field in FROM_SESSION:
        if value := getattr(visit, field):
            contributions.append((("dimension", site, day, name, value), mark, bundle, hour, visitor))
    return contributions


def _change_totals(event: Event, mark: str, changes: Measures, before: Session, after: Session) -> list[Contribution]:
    """Book the event, and what it changes in the visit, in the totals: most often of one quarter.

    `changes` are the measures of both.
    """
    site, visitor = event.site, event.visitor
    quarter, old_quarter, new_quarter = event.occurred_at // QUARTER_MS, before.quarter, after.quarter
    if quarter == old_quarter == new_quarter:
        return [(("totals", site, quarter, "", ""), mark, changes, -1, visitor)]
    contributions: list[Contribution] = [(("totals", site, quarter, "", ""), mark, event_measures(event), -1, visitor)]
    if old_quarter != new_quarter:
        contributions.append((("totals", site, old_quarter, "", ""), mark, _outcome(before, -1), -1, 0))
        contributions.append((("totals", site, new_quarter, "", ""), mark, _outcome(after, 1), -1, 0))
    elif difference := _difference(before, after):
        contributions.append((("totals", site, new_quarter, "", ""), mark, difference, -1, 0))
    return contributions


def _change_rows(event: Event, mark: str, changes: Measures, before: Session, after: Session) -> list[Contribution]:
    """Bring the visit's rows from what `before` says to what `after` says.

    Rows that stay get the `changes`. Where a row changes, or the visit's start moves to another bucket, the old
    rows get the visit as it was taken out and the new ones get it as it is put in.
    """
    site, visitor, day, hour = event.site, event.visitor, after.day, after.hour
    moved = before.day != day or before.hour != hour
    stay: list[Target] = []
    gone: list[Target] = []
    come: list[Target] = []
    if moved or before.rows != after.rows:
        gone.append(visit_group(site, before.day, before.rows))
        come.append(visit_group(site, day, after.rows))
    else:
        stay.append(visit_group(site, day, after.rows))
    for name, field in FROM_SESSION:
        old, new = getattr(before, field), getattr(after, field)
        if old == new and not moved:
            if new:
                stay.append(("dimension", site, day, name, new))
            continue
        if old:
            gone.append(("dimension", site, before.day, name, old))
        if new:
            come.append(("dimension", site, day, name, new))
    contributions: list[Contribution] = [(target, mark, changes, hour, visitor) for target in stay]
    if gone:
        taken_out = _bundle(before, -1)
        contributions += [(target, mark, taken_out, before.hour, visitor) for target in gone]
    if come:
        put_in = _bundle(after, 1)
        contributions += [(target, mark, put_in, hour, visitor) for target in come]
    return contributions


def _outcome(session: Session, sign: int) -> Measures:
    """What totals hold of a visit: the rest of it is booked event by event."""
    outcome = {"visits": sign}
    if session.bounced:
        outcome["bounces"] = sign
    if session.duration_ms:
        outcome["duration_ms"] = sign * session.duration_ms
    return outcome


def _difference(before: Session, after: Session) -> Measures:
    """What totals get when a visit is no longer what it was."""
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
