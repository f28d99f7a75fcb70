"""The reference count: counts events again in the simplest way, to check the stored counters.

In: all events, in the order of the stream. Out: the expected totals of every 15-minute bucket, and the expected rows of
every dimension and site-local day. It shares no code with the fold and knows no marks, states or corrections: it sorts
the events of a visitor by time, drops repeated ids, cuts visits at the gaps, and adds up.

Documented limits of the worker are modelled, and their cases counted:

* A worker sees events in the order of arrival. A late event between two visits joins one of them and does not merge
  them, and a visitor with many simultaneous visits loses the oldest: `by_arrival` cuts as the worker does.
* An event id is recognised only among the last 64 of its visitor: a repeat of an older one is counted again.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from liveinsight.counting.rollups import DIMENSIONS, Scope
from liveinsight.model.events import Event

MINUTE = 60_000
QUARTER = 15 * MINUTE
IDS_KNOWN = 64
VISITS_KNOWN = 8

COUNTED_AS = {"page_view": "pageviews", "click": "clicks", "conversion": "conversions", "heartbeat": "heartbeats"}
NOT_COUNTED_BY_TYPE = {"page_exit", "engagement"}
SHOWS_NO_INTEREST = {"page_view", "page_exit", "heartbeat", "engagement"}
LEDGER = "$ledger"
DROPPED = "dropped"

KNOWN_MEASURES = frozenset(
    {*COUNTED_AS.values(), "events", "custom_events", "visits", "bounces", "duration_ms", "duplicates"}
    | {"engaged_ms", "scroll_percent", "scroll_reports"}
)
"""Measures that are counted, besides ``revenue:<currency>``."""


class TotalsKey(NamedTuple):
    """One 15-minute bucket of a site."""

    site: str
    quarter: int


class RowKey(NamedTuple):
    """One value of a dimension on one local day of a site."""

    site: str
    day: int
    dimension: str
    value: str


@dataclass
class ExpectedCounter:
    """The expected content of one counter.

    `visitors` must be in its sketch; `maybe` may be: a sketch only grows, so it keeps visitors whose visits have moved
    to another row.
    """

    measures: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hours: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    visitors: set[int] = field(default_factory=set)
    maybe: set[int] = field(default_factory=set)

    def add(self, measures: dict[str, int], hour: int, visitor: int) -> None:
        """Add measures, with their page views in a local hour (-1: none), of a visitor (0: none)."""
        for name, amount in measures.items():
            self.measures[name] += amount
        if hour >= 0 and measures.get("pageviews"):
            self.hours[hour] += measures["pageviews"]
        if visitor:
            self.visitors.add(visitor)


Visit = list[Event]
"""The events of a visit, by time."""


@dataclass
class ReferenceCount:
    """All counters, and the visits they were counted from."""

    totals: dict[TotalsKey, ExpectedCounter] = field(default_factory=lambda: defaultdict(ExpectedCounter))
    rows: dict[RowKey, ExpectedCounter] = field(default_factory=lambda: defaultdict(ExpectedCounter))
    visits: list[Visit] = field(default_factory=list)
    events: int = 0
    cut_by_arrival: int = 0
    """Visitors whose late events make the worker cut visits differently than by time."""
    forgotten_ids: int = 0
    """Events counted again because their ids are too old to be recognised."""


def count_events(events: Iterable[Event]) -> ReferenceCount:
    """Count `events`, given in the order of the stream, each an object of its own."""
    by_visitor: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in events:
        by_visitor[event.site, event.visitor].append(event)
    result = ReferenceCount()
    for sent in by_visitor.values():
        distinct = _distinct(sent, result)
        result.events += len(distinct)
        for event in distinct:
            if event.type == LEDGER:
                _count_ledger(event, result)
            else:
                _count_event(event, result)
        happened = [event for event in distinct if event.type != LEDGER]
        visits, arrived = by_time(happened), by_arrival(happened)
        if _as_sets(visits) != _as_sets(arrived):
            result.cut_by_arrival += 1
            visits = arrived
        for visit in visits:
            _count_visit(visit, result)
        result.visits.extend(visits)
    return result


def by_time(events: list[Event]) -> list[Visit]:
    """Visits: the events of each session id, sorted by time and cut at the gaps."""
    of_session: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        of_session[event.session_id].append(event)
    visits: list[Visit] = []
    for group in of_session.values():
        last = None
        for event in sorted(group, key=lambda event: event.occurred_at):
            if last is None or event.occurred_at - last > event.gap_minutes * MINUTE:
                visits.append([])
            visits[-1].append(event)
            last = event.occurred_at
    return visits


def by_arrival(events: list[Event]) -> list[Visit]:
    """Visits cut in the order of arrival, as the worker cuts them."""
    done: list[Visit] = []
    under_way: list[Visit] = []
    for event in events:
        gap = event.gap_minutes * MINUTE
        fitting = [
            visit
            for visit in under_way
            if visit[0].session_id == event.session_id
            and visit[0].occurred_at - gap <= event.occurred_at <= visit[-1].occurred_at + gap
        ]
        if fitting:
            insort(fitting[-1], event, key=lambda event: event.occurred_at)
            continue
        if len(under_way) == VISITS_KNOWN:
            oldest = min(under_way, key=lambda visit: visit[-1].occurred_at)
            under_way = [visit for visit in under_way if visit is not oldest]
            done.append(oldest)
        under_way.append([event])
    return done + under_way


def _as_sets(visits: list[Visit]) -> set[frozenset[int]]:
    return {frozenset(id(event) for event in visit) for visit in visits}


def _distinct(events: list[Event], result: ReferenceCount) -> list[Event]:
    distinct: list[Event] = []
    seen: dict[int, int] = {}
    for event in events:
        before = seen.get(event.event_id)
        if before is not None and len(distinct) - before <= IDS_KNOWN:
            result.totals[_totals_of(event)].measures["duplicates"] += 1
            result.rows[RowKey(event.site, event.day, DROPPED, "duplicate")].measures["events"] += 1
            continue
        if before is not None:
            result.forgotten_ids += 1
        seen[event.event_id] = len(distinct)
        distinct.append(event)
    return distinct


def _totals_of(event: Event) -> TotalsKey:
    return TotalsKey(event.site, event.occurred_at // QUARTER)


def _count_ledger(event: Event, result: ReferenceCount) -> None:
    for reason, count in (event.props or {}).items():
        if isinstance(count, int):
            result.rows[RowKey(event.site, event.day, DROPPED, reason)].measures["events"] += count


def _count_event(event: Event, result: ReferenceCount) -> None:
    measures = measures_of(event)
    result.totals[_totals_of(event)].add(measures, -1, event.visitor)
    for dimension in DIMENSIONS:
        if dimension.scope is Scope.EVENT and (value := getattr(event, dimension.field)):
            key = RowKey(event.site, event.day, dimension.name, value)
            result.rows[key].add(measures, event.hour, event.visitor)


def measures_of(event: Event) -> dict[str, int]:
    """What one event adds."""
    measures = {"events": 1}
    if event.type not in NOT_COUNTED_BY_TYPE:
        measures[COUNTED_AS.get(event.type, "custom_events")] = 1
    if event.engaged_ms:
        measures["engaged_ms"] = event.engaged_ms
    if event.revenue and event.currency:
        measures[f"revenue:{event.currency}"] = event.revenue
    if event.type == "page_exit" and event.scroll_percent:
        measures |= {"scroll_percent": event.scroll_percent, "scroll_reports": 1}
    return measures


def _count_visit(visit: Visit, result: ReferenceCount) -> None:
    first, last = visit[0], visit[-1]
    views = [event for event in visit if event.type == "page_view"]
    interest = any(event.type not in SHOWS_NO_INTEREST for event in visit)
    outcome = {"visits": 1, "duration_ms": last.occurred_at - first.occurred_at}
    outcome["bounces"] = int(len(views) == 1 and not interest)
    result.totals[_totals_of(first)].add(outcome, -1, 0)
    sums: dict[str, int] = defaultdict(int, outcome)
    for event in visit:
        for name, amount in measures_of(event).items():
            sums[name] += amount
    for dimension in DIMENSIONS:
        if dimension.scope is not Scope.VISIT:
            continue
        if dimension.name in {"entry_page", "exit_page"}:
            value = views[0 if dimension.name == "entry_page" else -1].page if views else ""
            seen = {event.page for event in views}
        else:
            value = getattr(first, dimension.field) or dimension.empty or ""
            seen = {getattr(event, dimension.field) or dimension.empty or "" for event in visit}
        if value:
            result.rows[RowKey(first.site, first.day, dimension.name, value)].add(sums, first.hour, first.visitor)
        for day in {event.day for event in visit}:
            for other in filter(None, seen):
                result.rows[RowKey(first.site, day, dimension.name, other)].maybe.add(first.visitor)
