"""The contributions of events, added up: whole results, as a reader would see them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.fold import fold
from liveinsight.counting.keys import LIVE, CounterKey, dimension_key, minute_key, totals_key
from liveinsight.counting.sessions import VisitorState
from liveinsight.model.buckets import minute_of, quarter_of
from liveinsight.model.events import CLICK, CONVERSION, HEARTBEAT, LEDGER, PAGE_EXIT, PAGE_VIEW, Event
from liveinsight.testing.builders import NOON, an_event
from liveinsight.testing.counters import apply_pending, by_counter

MINUTE = 60_000
DAY = an_event().day


def count(*events: Event) -> dict[CounterKey, CounterItem]:
    states: dict[int, VisitorState] = {}
    items: dict[CounterKey, CounterItem] = {}
    for number, event in enumerate(events):
        state = states.setdefault(event.visitor, VisitorState("default", event.visitor, sessions=[], recent_ids=[]))
        mark = f"{number:06d}"
        for key, part in by_counter(fold(state, event, mark).contributions):
            item = items.setdefault(key, CounterItem())
            item.mark = ""
            apply_pending(item, [part])
    return items


def nonzero(item: CounterItem) -> dict[str, int]:
    return {name: amount for name, amount in item.measures.items() if amount}


def by_value(items: dict[CounterKey, CounterItem], dimension: str) -> dict[str, dict[str, int]]:
    return {key.value: nonzero(item) for key, item in items.items() if key.dimension == dimension and nonzero(item)}


def test_one_visit_from_start_to_end() -> None:
    """A visit of two views, a click and an order, in two quarter hours: all of its numbers.

    12:10 view /a   12:14 click on /a   12:16 view /b   12:20 order on /b   12:21 exit
    """
    items = count(
        an_event(at=NOON + 10 * MINUTE, page="/a", source="Google"),
        an_event(at=NOON + 14 * MINUTE, page="/a", type=CLICK),
        an_event(at=NOON + 16 * MINUTE, page="/b"),
        an_event(
            at=NOON + 20 * MINUTE, page="/b", type=CONVERSION, conversion_type="order", revenue=1250, currency="EUR"
        ),
        an_event(at=NOON + 21 * MINUTE, page="/b", type=PAGE_EXIT, engaged_ms=4000),
    )
    quarter = quarter_of(NOON)
    assert nonzero(items[totals_key("default", quarter)]) == {
        "events": 2, "pageviews": 1, "clicks": 1, "visits": 1, "duration_ms": 11 * MINUTE,
    }  # fmt: skip
    assert nonzero(items[totals_key("default", quarter + 1)]) == {
        "events": 3, "pageviews": 1, "conversions": 1, "revenue:EUR": 1250, "engaged_ms": 4000,
    }  # fmt: skip
    visit = {
        "visits": 1, "pageviews": 2, "events": 5, "clicks": 1, "conversions": 1, "revenue:EUR": 1250,
        "engaged_ms": 4000, "duration_ms": 11 * MINUTE,
    }  # fmt: skip
    assert by_value(items, "source") == {"Google": visit}
    assert by_value(items, "entry_page") == {"/a": visit}
    assert by_value(items, "exit_page") == {"/b": visit}
    assert by_value(items, "page") == {
        "/a": {"pageviews": 1, "events": 2, "clicks": 1},
        "/b": {"pageviews": 1, "events": 3, "conversions": 1, "revenue:EUR": 1250, "engaged_ms": 4000},
    }
    assert by_value(items, "conversion_type") == {"order": {"events": 1, "conversions": 1, "revenue:EUR": 1250}}
    assert {name: row["events"] for name, row in by_value(items, "event").items()} == {
        PAGE_VIEW: 2, CLICK: 1, CONVERSION: 1, PAGE_EXIT: 1,
    }  # fmt: skip


def test_bounce_is_taken_back_where_the_visit_began() -> None:
    """The second view, in a later bucket, takes the bounce back in the bucket of the first."""
    first, second = an_event(at=NOON + 14 * MINUTE), an_event(at=NOON + 16 * MINUTE, page="/b")
    assert nonzero(count(first)[totals_key("default", quarter_of(NOON))])["bounces"] == 1
    after = count(first, second)
    assert "bounces" not in nonzero(after[totals_key("default", quarter_of(NOON))])
    assert "bounces" not in nonzero(after[totals_key("default", quarter_of(NOON) + 1)])


def test_repeated_event_counts_as_a_duplicate_only() -> None:
    """The same event id again adds to the duplicates, in totals and in the ledger, and to nothing else."""
    once, twice = count(an_event()), count(an_event(), an_event(at=NOON))
    key = totals_key("default", quarter_of(NOON))
    assert nonzero(twice[key]) == nonzero(once[key]) | {"duplicates": 1}
    dropped = dimension_key("default", DAY, "dropped", "duplicate")
    assert nonzero(twice.pop(dropped)) == {"events": 1}
    assert {k: nonzero(i) for k, i in twice.items() if k != key} == {k: nonzero(i) for k, i in once.items() if k != key}


def test_each_visitor_is_active_in_one_minute() -> None:
    """The recency histogram holds each visitor once, in the minute of the last activity.

    minute     0   1   2   3
    visitor 1  x   .   x   .
    visitor 2  x   x   .   .
    active     0   1   1   0
    """
    items = count(
        an_event(at=NOON, visitor=1),
        an_event(at=NOON, visitor=2),
        an_event(at=NOON + MINUTE, visitor=2),
        an_event(at=NOON + 2 * MINUTE, visitor=1),
    )
    active = [items[minute_key("default", minute_of(NOON) + n)].measures.get("active", 0) for n in range(3)]
    assert active == [0, 1, 1]


def test_late_event_does_not_make_a_visitor_less_recent() -> None:
    """An event that arrives late counts its view in its own minute and leaves the histogram alone."""
    items = count(an_event(at=NOON + 2 * MINUTE), an_event(at=NOON, page="/late"))
    assert nonzero(items[minute_key("default", minute_of(NOON))]) == {"pageviews": 1}
    assert nonzero(items[minute_key("default", minute_of(NOON) + 2)]) == {"pageviews": 1, "active": 1}


def present(items: dict[CounterKey, CounterItem], dimension: str = "") -> dict[tuple[int, str], int]:
    """Who is where: visitors by (minutes since noon, value)."""
    prefix = f"{dimension}=" if dimension else ""
    return {
        (key.bucket - minute_of(NOON), name.removeprefix(prefix)): amount
        for key, item in items.items()
        if key.kind == "minute" and key.dimension == (LIVE if dimension else "")
        for name, amount in nonzero(item).items()
        if name != "pageviews" and name.startswith(prefix)
    }


def test_present_visitors_by_page_and_source() -> None:
    """A visitor is under one page and one source, those of the last event, and moves with it.

    minute     0          1         2
    page       /a  /b     (beat)    /c
    """
    items = count(
        an_event(at=NOON, page="/a", source="Google"),
        an_event(at=NOON + 5_000, page="/b", source=""),
        an_event(at=NOON + MINUTE, page="/b", type=HEARTBEAT, source=""),
        an_event(at=NOON + 2 * MINUTE, page="/c", source="", visitor=2),
    )
    assert present(items) == {(1, "active"): 1, (2, "active"): 1}
    assert present(items, "page") == {(1, "/b"): 1, (2, "/c"): 1}
    assert present(items, "source") == {(1, "Google"): 1, (2, "(direct)"): 1}
    assert present(items, "country") == {(1, "(unknown)"): 1, (2, "(unknown)"): 1}


def test_leaving_takes_a_visitor_out_at_once() -> None:
    """The exit from the only open page ends presence; the next page begins it again."""
    view, left = an_event(at=NOON, page="/a"), an_event(at=NOON + 9_000, page="/a", type=PAGE_EXIT)
    assert present(count(view, left)) == {}
    assert present(count(view, left), "page") == {}
    again = count(view, left, an_event(at=NOON + 9_500, page="/b"))
    assert (present(again), present(again, "page")) == ({(0, "active"): 1}, {(0, "/b"): 1})


def test_visitor_stays_while_another_tab_is_open() -> None:
    """Leaving one of two tabs does not end presence, leaving both does; a tab silent for long does not hold it.

    minute   0       1       2       3
    tab 1    view    .       exit
    tab 2    .       view    .       exit
    """
    events = [
        an_event(at=NOON, session_id="t1"),
        an_event(at=NOON + MINUTE, session_id="t2"),
        an_event(at=NOON + 2 * MINUTE, session_id="t1", type=PAGE_EXIT),
        an_event(at=NOON + 3 * MINUTE, session_id="t2", type=PAGE_EXIT),
    ]
    assert present(count(*events[:3])) == {(2, "active"): 1}
    assert present(count(*events)) == {}
    late_exit = an_event(at=NOON + 20 * MINUTE, session_id="t2", type=PAGE_EXIT)
    assert present(count(*events[:2], late_exit)) == {}


def test_late_event_does_not_bring_a_visitor_back() -> None:
    """What happened before the exit but arrives after it leaves the visitor out."""
    events = [an_event(at=NOON), an_event(at=NOON + 9_000, type=PAGE_EXIT), an_event(at=NOON + 4_000, type=CLICK)]
    assert present(count(*events)) == {}


def test_scroll_depth_is_that_of_the_end_of_a_view() -> None:
    """Depth is counted once per view, at its exit: as a sum and the number of reports."""
    items = count(
        an_event(at=NOON, page="/a"),
        an_event(at=NOON + 30_000, page="/a", type=HEARTBEAT, scroll_percent=40),
        an_event(at=NOON + 40_000, page="/a", type=PAGE_EXIT, scroll_percent=80),
    )
    row = nonzero(items[dimension_key("default", DAY, "page", "/a")])
    assert (row["scroll_percent"], row["scroll_reports"]) == (80, 1)


def test_ledger_event_counts_in_the_ledger_only() -> None:
    """What ingest has dropped is a row per reason, and no event, visit or visitor."""
    items = count(an_event(type=LEDGER, props={"bot": 7, "rate": 2}))
    assert by_value(items, "dropped") == {"bot": {"events": 7}, "rate": {"events": 2}}
    assert len(items) == 2


def test_gap_is_that_of_the_event() -> None:
    """A site with a shorter gap has more visits from the same events."""
    minutes = (0, 20, 40)
    long = count(*(an_event(at=NOON + minute * MINUTE) for minute in minutes))
    short = count(*(an_event(at=NOON + minute * MINUTE, gap_minutes=15) for minute in minutes))
    assert by_value(long, "source")["(direct)"]["visits"] == 1
    assert by_value(short, "source")["(direct)"]["visits"] == 3


def test_imported_history_is_not_live() -> None:
    """Events that were old when they arrived touch no live minute."""
    assert not [key for key in count(an_event(recent=False)) if key.kind == "minute"]


def test_local_days_and_hours_are_those_of_the_event() -> None:
    """Dimension rows are on the site-local day, with page views by local hour."""
    event = an_event(at=NOON + 7 * 60 * MINUTE, zone="Asia/Kathmandu", page="/a")
    item = count(event)[dimension_key("default", event.day, "page", "/a")]
    assert (event.day, item.hours) == (DAY + 1, {0: 1})


@pytest.mark.parametrize("seed", range(30))
def test_batch_bounds_and_arrival_order_change_nothing(seed: int) -> None:
    """Visits that arrive shuffled give the same sums as in order: deltas commute, and moves are clean."""
    rng = random.Random(seed)
    events: list[Any] = [
        an_event(
            at=NOON + rng.randrange(25 * MINUTE),
            visitor=rng.randint(1, 3),
            event_id=number,
            page=rng.choice("abc"),
            type=rng.choice([PAGE_VIEW, CLICK]),
            recent=False,
        )
        for number in range(1, 25)
    ]
    in_order = count(*sorted(events, key=lambda event: (event.occurred_at, event.event_id)))
    shuffled = count(*rng.sample(events, len(events)))
    assert {k: nonzero(i) for k, i in shuffled.items() if nonzero(i)} == {
        k: nonzero(i) for k, i in in_order.items() if nonzero(i)
    }, f"seed {seed}"
