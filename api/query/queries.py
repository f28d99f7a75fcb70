"""Queries over stored items. Each makes a fixed number of reads, whatever the number of events.

In: a `ReadStore` and checked parameters. Out: rows, and the number of stored items that were read, as `Read`.

    totals, time series    one read of the range's 15-minute items   (buckets x shards)
    breakdown, pages       one read a day                            (values of each day x shards)
    live                   one read of 30 to 60 minutes              (minutes x shards, twice with a dimension)
    sessions               two reads of live minutes, one of the visitors listed
    events                 one read
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

from msgspec import UNSET

from api.query.answers import BreakdownRow, Live, Minute, Point, Present, Totals, breakdown_row, totals_of, visitors_of
from api.query.intervals import Bucket
from api.query.periods import Range, iso
from api.query.session_answers import ActiveSession, SessionEvent, active_sessions, session_event
from liveinsight.counting.counters import CounterItem, merge_items
from liveinsight.counting.keys import LIVE, SEEN
from liveinsight.counting.presence import live_name, seen_visitor
from liveinsight.counting.rollups import Dimension
from liveinsight.counting.sessions import SESSION_GAP_MS
from liveinsight.model.buckets import MINUTE_MS, day_number, days_between, minute_of, quarter_of, quarter_start
from liveinsight.storage.store import Read, ReadStore

LIVE_ROWS = 30
"""Minutes in the live answer."""
LATEST = 5
"""Minutes that the list of active sessions reads first."""
LIVE_VALUES = 10
"""Values of a dimension in the live answer."""
MAX_SESSION_ID = 256
"""Characters; a longer id is not stored, so nothing is read for it."""


def totals(store: ReadStore, site: str, start_ms: int, end_ms: int) -> Read[Totals]:
    """One row: the sums over [start_ms, end_ms)."""
    read = _quarters(store, site, start_ms, end_ms)
    return Read([totals_of(merge_items(item for _, item in read.rows))], read.items_read)


def timeseries(store: ReadStore, site: str, asked: Range, buckets: Sequence[Bucket], as_of: int | None) -> Read[Point]:
    """One row per bucket, empty ones included."""
    read = _quarters(store, site, asked.start_ms, asked.end_ms)
    points = []
    for bucket, items in zip(buckets, _by_bucket(read.rows, buckets), strict=True):
        row = totals_of(merge_items(items))
        point = Point(
            start=iso(bucket.start_ms, asked.zone),
            start_ms=bucket.start_ms,
            pageviews=row.pageviews,
            visits=row.visits,
            visitors=row.visitors,
            events=row.events,
            bounces=row.bounces,
            complete=as_of is not None and as_of >= bucket.end_ms,
        )
        points.append(point)
    return Read(points, read.items_read)


def events_by_bucket(store: ReadStore, site: str, buckets: Sequence[Bucket]) -> Read[int]:
    """The number of events in each bucket."""
    read = _quarters(store, site, buckets[0].start_ms, buckets[-1].end_ms)
    counts = [sum(item.measures.get("events", 0) for item in items) for items in _by_bucket(read.rows, buckets)]
    return Read(counts, read.items_read)


def breakdown(
    store: ReadStore,
    site: str,
    dimension: Dimension,
    days: tuple[date, date],
    *,
    sort: str,
    limit: int,
    offset: int = 0,
    hours: bool = False,
) -> tuple[Read[BreakdownRow], int]:
    """The dimension's values over local days, largest first, ties by value; and the number of values.

    Values whose sum is back to zero are left out.
    """
    found: dict[str, list[CounterItem]] = defaultdict(list)
    items_read, partial = 0, False
    for day in days_between(*days):
        read = store.read_dimension(site, day_number(day), dimension.name)
        items_read += read.items_read
        partial |= read.partial
        for value, item in read.rows:
            found[value].append(item)
    counted = {value: items for value, items in found.items() if _sum(items, dimension.main) > 0}
    ranks = {value: _rank(dimension, items, sort) for value, items in counted.items()}
    chosen = sorted(counted, key=lambda value: (-ranks[value], value))[offset : offset + limit]
    # Merging sketches is expensive: only for the rows in the answer.
    rows = [breakdown_row(dimension, value, merge_items(counted[value]), hours=hours) for value in chosen]
    return Read(rows, items_read, partial), len(counted)


def live(store: ReadStore, site: str, now: int, window: int, dimension: str | None = None) -> Read[Live]:
    """One row: the visitors with an event in the last `window` minutes, and the last 30 minutes."""
    current = minute_of(now)
    first = current - window + 1
    by = store.read_minutes(site, first, current, LIVE) if dimension else None
    read = store.read_minutes(site, current - max(window, LIVE_ROWS) + 1, current)
    by_minute: dict[int, list[CounterItem]] = defaultdict(list)
    for minute, item in read.rows:
        by_minute[minute].append(item)
    in_window = [item for minute in range(first, current + 1) for item in by_minute[minute]]
    minutes = [_minute(minute, by_minute[minute]) for minute in range(current - LIVE_ROWS + 1, current + 1)]
    answer = Live(
        visitors=max(0, _sum(in_window, "active")),
        window_minutes=window,
        pageviews=_sum(in_window, "pageviews"),
        minutes=minutes,
        by=_present((item for _, item in by.rows), dimension) if by and dimension else UNSET,
    )
    return Read([answer], read.items_read + (by.items_read if by else 0))


def sessions(store: ReadStore, site: str, now: int, limit: int) -> Read[ActiveSession]:
    """Active sessions, the latest first: those of the `limit` visitors seen last."""
    current = minute_of(now)
    seen: dict[int, None] = {}
    items_read = 0
    # Mostly the last minutes have enough of them.
    for first, last in ((current - LATEST + 1, current), (minute_of(now - SESSION_GAP_MS), current - LATEST)):
        if len(seen) < limit:
            minutes = store.read_minutes(site, first, last, SEEN)
            items_read += minutes.items_read
            for _, item in sorted(minutes.rows, key=lambda row: -row[0]):
                seen.update(dict.fromkeys(seen_visitor(name) for name in item.measures))
    read = store.read_visitors([(site, visitor) for visitor in list(seen)[:limit]])
    return Read(active_sessions(read.rows, now, limit), items_read + read.items_read, read.partial)


def session_events(store: ReadStore, site: str, session_id: str, limit: int) -> Read[SessionEvent]:
    """A session's events in order; none for an unknown session."""
    if len(session_id) > MAX_SESSION_ID:
        return Read([], 0)
    read = store.read_timeline(site, session_id, limit)
    return Read([session_event(event, session_id) for _, event in read.rows], read.items_read, read.partial)


def _quarters(store: ReadStore, site: str, start_ms: int, end_ms: int) -> Read[tuple[int, CounterItem]]:
    return store.read_totals(site, quarter_of(start_ms), quarter_of(end_ms) - 1)


def _by_bucket(rows: Iterable[tuple[int, CounterItem]], buckets: Sequence[Bucket]) -> list[list[CounterItem]]:
    starts = [bucket.start_ms for bucket in buckets]
    items: list[list[CounterItem]] = [[] for _ in buckets]
    for quarter, item in rows:
        items[bisect_right(starts, quarter_start(quarter)) - 1].append(item)
    return items


def _rank(dimension: Dimension, items: Sequence[CounterItem], sort: str) -> int:
    return visitors_of(dimension, merge_items(items)) if sort == "visitors" else _sum(items, sort)


def _minute(minute: int, items: Sequence[CounterItem]) -> Minute:
    merged = merge_items(items)
    return Minute(
        start_ms=minute * MINUTE_MS,
        pageviews=merged.measures.get("pageviews", 0),
        visitors=merged.visitors,
    )


def _present(items: Iterable[CounterItem], dimension: str) -> list[Present]:
    prefix = live_name(dimension, "")
    counts = merge_items(items).measures
    ranked = sorted((-count, name) for name, count in counts.items() if count > 0 and name.startswith(prefix))
    return [Present(value=name.removeprefix(prefix), visitors=-count) for count, name in ranked[:LIVE_VALUES]]


def _sum(items: Iterable[CounterItem], measure: str) -> int:
    return sum(item.measures.get(measure, 0) for item in items)
