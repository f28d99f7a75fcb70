"""The same job done otherwise, to have something to compare with: a floor, pandas, and a stream library.

    floor    decode and add to one dict: what no processor in Python can be faster than
    pandas   the whole log at once, or batch by batch: sums by dimension, visits cut where a gap is
    bytewax  a dataflow: visits per visitor, sums per counter

All give totals by quarter hour, views by page, day and hour, and visits by entry page, exit page, source,
channel, country, device, browser, system and language, with bounces, durations and distinct visitors. None of them
stores anything, counts once, or knows who is present now: what the processor does beside is its price.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import datasketches
import pandas as pd

from bench.support.traffic import Poll
from liveinsight.counting.sessions import SESSION_GAP_MS
from liveinsight.model.buckets import QUARTER_MS
from liveinsight.model.events import PAGE_VIEW, Event, decode_record

OF_VISIT = ("source", "channel", "utm_source", "country", "device", "browser", "os", "language")
COLUMNS = ("visitor", "session_id", "type", "occurred_at", "day", "hour", "page", "engaged_ms", *OF_VISIT)


def floor(polls: Sequence[Poll]) -> None:
    """Decode, and count views by page."""
    views: dict[tuple[str, str], int] = {}
    for poll in polls:
        for record in poll.records:
            for event in decode_record(record.data):
                key = event.site, event.page
                views[key] = views.get(key, 0) + 1


def pandas_whole(polls: Sequence[Poll]) -> None:
    """All of the log as one table: the best case of pandas, as nothing has to be live."""
    frame = _frame(polls)
    _event_sums(frame)
    _visit_sums(_visits(frame))


def pandas_batches(polls: Sequence[Poll], every: int) -> None:
    """A table for each `every` polls, as a live system would have it: sums alone, and no visit spans two tables."""
    for start in range(0, len(polls), every):
        frame = _frame(polls[start : start + every])
        if len(frame):
            _event_sums(frame)
            _visit_sums(_visits(frame))


def _frame(polls: Sequence[Poll]) -> pd.DataFrame:
    events = (event for poll in polls for record in poll.records for event in decode_record(record.data))
    rows = [tuple(getattr(event, name) for name in COLUMNS) for event in events]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _event_sums(frame: pd.DataFrame) -> list[Any]:
    frame["quarter"] = frame["occurred_at"] // QUARTER_MS
    frame["views"] = (frame["type"] == PAGE_VIEW).astype(int)
    sums: dict[str, Any] = {
        "events": ("type", "size"),
        "views": ("views", "sum"),
        "engaged_ms": ("engaged_ms", "sum"),
        "visitors": ("visitor", "nunique"),
    }
    return [
        frame.groupby(keys).agg(**sums)
        for keys in (["quarter"], ["day", "page"], ["day", "type"], ["day", "hour", "page"])
    ]


def _visits(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per visit: a new one begins with a session id, or after a gap."""
    ordered = frame.sort_values(["visitor", "session_id", "occurred_at"])
    by_visitor = ordered.groupby(["visitor", "session_id"])["occurred_at"]
    begins = (ordered["occurred_at"] - by_visitor.shift()).fillna(SESSION_GAP_MS + 1) > SESSION_GAP_MS
    ordered["visit"] = begins.cumsum()
    ordered["viewed"] = ordered["page"].where(ordered["views"] == 1)
    first: dict[str, Any] = {name: (name, "first") for name in ("visitor", "day", "quarter", *OF_VISIT)}
    visits: pd.DataFrame = ordered.groupby("visit").agg(
        **first,
        events=("type", "size"),
        views=("views", "sum"),
        entry_page=("viewed", "first"),
        exit_page=("viewed", "last"),
        began=("occurred_at", "min"),
        ended=("occurred_at", "max"),
    )
    visits["duration_ms"] = visits["ended"] - visits["began"]
    visits["bounces"] = ((visits["views"] == 1) & (visits["events"] == 1)).astype(int)
    return visits


def _visit_sums(visits: pd.DataFrame) -> list[Any]:
    sums: dict[str, Any] = {
        "visits": ("visitor", "size"),
        "events": ("events", "sum"),
        "views": ("views", "sum"),
        "bounces": ("bounces", "sum"),
        "duration_ms": ("duration_ms", "sum"),
        "visitors": ("visitor", "nunique"),
    }
    rows = [["quarter"], *(["day", name] for name in ("entry_page", "exit_page", *OF_VISIT))]
    return [visits.groupby(keys).agg(**sums) for keys in rows]


class _Visit(NamedTuple):
    first: Event
    last_at: int
    events: int
    views: int
    exit_page: str


Sum = tuple[str, tuple[int, int, int, int, int, int]]
"""(counter, (events, views, visits, bounces, duration, visitor))."""


# Long: its classes need the library, which is optional.
def bytewax(polls: Sequence[Poll]) -> None:
    """A dataflow in one worker.

    Raises:
        ImportError: bytewax is not installed.
    """
    import bytewax.operators as op  # noqa: PLC0415 - not among our dependencies
    from bytewax.dataflow import Dataflow  # noqa: PLC0415
    from bytewax.testing import TestingSink, TestingSource, run_main  # noqa: PLC0415

    class SumLogic(op.StatefulBatchLogic[Any, Any, Any]):
        """The sums of one counter, given out at the end."""

        def __init__(self, key: str) -> None:
            self._sums = [0, 0, 0, 0, 0]
            self._sketch = datasketches.cpc_sketch(11)

        def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
            sums = self._sums
            for *amounts, visitor in values:
                for index, amount in enumerate(amounts):
                    sums[index] += amount
                self._sketch.update(visitor)
            return (), op.StatefulBatchLogic.RETAIN

        def on_eof(self) -> tuple[Iterable[Any], bool]:
            return [(*self._sums, self._sketch.serialize())], op.StatefulBatchLogic.DISCARD

        def snapshot(self) -> Any:
            return tuple(self._sums), self._sketch.serialize()

    class VisitLogic(op.StatefulBatchLogic[Any, Any, Any]):
        """Cuts one visitor's events into visits; a visit is counted when it is over."""

        def __init__(self) -> None:
            self._open: dict[str, _Visit] = {}

        def on_batch(self, values: list[Event]) -> tuple[Iterable[Any], bool]:
            sums: list[Sum] = []
            for event in values:
                sums.extend(_of_event(event))
                visit = self._open.get(event.session_id)
                if visit and event.occurred_at - visit.last_at > SESSION_GAP_MS:
                    sums.extend(_of_visit(visit))
                    visit = None
                self._open[event.session_id] = _extended(visit, event)
            return sums, op.StatefulBatchLogic.RETAIN

        def on_eof(self) -> tuple[Iterable[Any], bool]:
            sums = [entry for visit in self._open.values() for entry in _of_visit(visit)]
            return sums, op.StatefulBatchLogic.DISCARD

        def snapshot(self) -> Any:
            return dict(self._open)

    flow = Dataflow("bench")
    out: list[Any] = []
    batches = op.input("read", flow, TestingSource(polls, batch_size=1))
    events = op.flat_map("decode", batches, _events)
    by_visitor = op.key_on("by_visitor", events, lambda event: f"{event.visitor:x}")
    sums = op.stateful_batch("visits", by_visitor, lambda _: VisitLogic())
    by_counter = op.key_rm("to_counters", sums)
    totals = op.stateful_batch("sums", by_counter, lambda key: SumLogic(key or ""))
    op.output("out", totals, TestingSink(out))
    run: Any = run_main
    run(flow)


def _events(poll: Poll) -> list[Event]:
    return [event for record in poll.records for event in decode_record(record.data)]


def _extended(visit: _Visit | None, event: Event) -> _Visit:
    viewed = event.type == PAGE_VIEW
    if visit is None:
        return _Visit(event, event.occurred_at, 1, int(viewed), event.page)
    exit_page = event.page if viewed else visit.exit_page
    return _Visit(visit.first, event.occurred_at, visit.events + 1, visit.views + viewed, exit_page)


def _of_event(event: Event) -> list[Sum]:
    amounts = (1, int(event.type == PAGE_VIEW), 0, 0, 0, event.visitor)
    keys = (
        f"t/{event.occurred_at // QUARTER_MS}",
        f"page/{event.day}/{event.page}",
        f"page/{event.day}/{event.hour}/{event.page}",
        f"event/{event.day}/{event.type}",
    )
    return [(key, amounts) for key in keys]


def _of_visit(visit: _Visit) -> list[Sum]:
    first = visit.first
    bounced = int(visit.events == 1 and visit.views == 1)
    amounts = (visit.events, visit.views, 1, bounced, visit.last_at - first.occurred_at, first.visitor)
    keys = [f"{name}/{first.day}/{value}" for name in OF_VISIT if (value := getattr(first, name))]
    keys += [f"entry/{first.day}/{first.page}", f"exit/{first.day}/{visit.exit_page}"]
    # The totals have the events already.
    totals: Sum = (f"t/{first.occurred_at // QUARTER_MS}", (0, 0, *amounts[2:]))
    return [totals, *((key, amounts) for key in keys)]
