"""The naive counter: small cases worked out by hand, and random logs on which it and the fold must agree."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.fold import fold
from liveinsight.counting.rollups import MEASURES_BY_TYPE
from liveinsight.counting.sessions import new_visitor
from liveinsight.model.buckets import quarter_of
from liveinsight.model.events import CLICK, CONVERSION, ENGAGEMENT, HEARTBEAT, LEDGER, PAGE_EXIT, PAGE_VIEW, Event
from liveinsight.testing.builders import NOON, an_event
from liveinsight.testing.counters import apply_pending, by_counter
from processor.verify.comparison import Key, Stored, Window, compare
from processor.verify.reference_count import KNOWN_MEASURES, ReferenceCount, RowKey, TotalsKey, count_events

MINUTE = 60_000
DAY = an_event().day


def row(result: ReferenceCount, dimension: str, value: str) -> dict[str, int]:
    tally = result.rows.get(RowKey("default", DAY, dimension, value))
    return {name: amount for name, amount in tally.measures.items() if amount} if tally else {}


def totals(result: ReferenceCount, at: int) -> dict[str, int]:
    measures = result.totals[TotalsKey("default", quarter_of(at))].measures
    return {name: amount for name, amount in measures.items() if amount}


def test_visit_by_hand() -> None:
    """Two views, a click and an exit are one visit without a bounce, booked where it began.

    12:00 view /a   12:10 click   12:20 view /b (+ 3 s engaged)   12:21 exit, 80 % scrolled
    """
    result = count_events(
        [
            an_event(at=NOON, page="/a", source="Google"),
            an_event(at=NOON + 10 * MINUTE, page="/a", type=CLICK),
            an_event(at=NOON + 20 * MINUTE, page="/b", engaged_ms=3_000),
            an_event(at=NOON + 21 * MINUTE, page="/b", type=PAGE_EXIT, scroll_percent=80),
        ]
    )
    visit = {"visits": 1, "duration_ms": 21 * MINUTE}
    assert totals(result, NOON) == {"events": 2, "pageviews": 1, "clicks": 1, **visit}
    scrolled = {"scroll_percent": 80, "scroll_reports": 1}
    assert totals(result, NOON + 20 * MINUTE) == {"events": 2, "pageviews": 1, "engaged_ms": 3_000, **scrolled}
    whole = {**visit, "events": 4, "pageviews": 2, "clicks": 1, "engaged_ms": 3_000, **scrolled}
    assert row(result, "source", "Google") == row(result, "entry_page", "/a") == row(result, "exit_page", "/b") == whole
    assert row(result, "page", "/a") == {"events": 2, "pageviews": 1, "clicks": 1}
    assert row(result, "exit_page", "/a") == {}
    google = result.rows[RowKey("default", DAY, "source", "Google")]
    assert (dict(google.hours), google.visitors) == ({12: 2}, {1})


def test_gap_cuts_a_visit() -> None:
    """Thirty minutes without an event are still one visit, a millisecond more makes two, each a bounce or not."""
    gap = 30 * MINUTE
    assert totals(count_events([an_event(), an_event(at=NOON + gap)]), NOON)["visits"] == 1
    result = count_events([an_event(), an_event(at=NOON + gap + 1)])
    assert totals(result, NOON) == {"events": 1, "pageviews": 1, "visits": 1, "bounces": 1}
    assert totals(result, NOON + gap + 1) == {"events": 1, "pageviews": 1, "visits": 1, "bounces": 1}


def test_repeated_event_is_a_duplicate() -> None:
    """An id that was just seen counts as a duplicate and as nothing else; one from long before counts again."""
    once = count_events([an_event()])
    twice = count_events([an_event(), an_event()])
    assert totals(twice, NOON) == {**totals(once, NOON), "duplicates": 1}
    assert row(twice, "dropped", "duplicate") == {"events": 1}
    between = [an_event(at=NOON + number, event_id=number + 10) for number in range(64)]
    again = count_events([an_event(event_id=1), *between, an_event(event_id=1)])
    assert (again.forgotten_ids, totals(again, NOON)["pageviews"]) == (1, 66)


def test_event_between_two_visits_is_told_apart() -> None:
    """A late event that closes the gap between two visits does not merge them, as the worker has it, and is noted."""
    events = [an_event(at=NOON), an_event(at=NOON + 50 * MINUTE), an_event(at=NOON + 25 * MINUTE)]
    result = count_events(events)
    assert (len(result.visits), result.cut_by_arrival) == (2, 1)
    in_order = count_events(sorted(events, key=lambda event: event.occurred_at))
    assert (len(in_order.visits), in_order.cut_by_arrival) == (1, 0)


def test_ledger_counts_what_was_dropped() -> None:
    """Ingest's own report is a row per reason, and no event."""
    result = count_events(
        [an_event(type=LEDGER, props={"bot": 3}), an_event(at=NOON + 1, type=LEDGER, props={"bot": 4})]
    )
    assert row(result, "dropped", "bot") == {"events": 7}
    assert (len(result.rows), result.totals, result.visits) == (1, {}, [])


def test_every_measure_is_recounted() -> None:
    """What the fold counts by type, the recount knows, too."""
    assert {name for measures in MEASURES_BY_TYPE.values() for name in measures} <= KNOWN_MEASURES


def random_log(rng: random.Random) -> list[Event]:
    """A few visitors over a midnight: with and without session ids, late events, repeats, shorter gaps, all types."""
    log: list[Event] = []
    at = NOON + 10 * 3_600_000
    for number in range(rng.choice([2, 20, 60, 300])):
        at += rng.choice([0, 1_000, MINUTE, 10 * MINUTE, 31 * MINUTE])
        kind = rng.choice([*3 * [PAGE_VIEW], CLICK, CONVERSION, HEARTBEAT, ENGAGEMENT, PAGE_EXIT, "vote"])
        changes: dict[str, Any] = {"type": kind, "page": rng.choice(["/a", "/b", ""])}
        if kind == CONVERSION:
            changes |= {"conversion_type": "sale", "revenue": rng.randint(0, 500), "currency": rng.choice(["EUR", ""])}
        if kind in {ENGAGEMENT, PAGE_EXIT}:
            changes |= {"engaged_ms": rng.randint(0, 900), "scroll_percent": rng.randint(0, 100)}
        if rng.random() < 0.03:
            changes = {"type": LEDGER, "props": {"bot": rng.randint(1, 9)}}
        event = an_event(
            at=at - rng.choice([*6 * [0], 20_000, 25 * MINUTE, 50 * MINUTE, 9 * 60 * MINUTE]),
            visitor=rng.randint(1, 3),
            event_id=number + 1,
            session_id=rng.choice(["", "", "s1", "s2"]),
            source=rng.choice(["", "Google"]),
            country=rng.choice(["", "DE", "FR"]),
            gap_minutes=rng.choice([30, 30, 30, 15]),
            **changes,
        )
        log.append(event)
        if rng.random() < 0.1:
            log.append(replace(rng.choice(log)))
    return log


def folded(log: list[Event]) -> Stored:
    """What the worker's own code makes of a log."""
    states = {event.visitor: new_visitor("default", event.visitor) for event in log}
    counters: dict[Key, CounterItem] = {}
    for number, event in enumerate(log):
        mark = f"{number:06d}"
        for target, part in by_counter(fold(states[event.visitor], event, mark).contributions):
            kind, site, bucket, dimension, value = target
            if kind == "minute":
                continue
            key: Key = TotalsKey(site, bucket) if kind == "totals" else RowKey(site, bucket, dimension, value)
            item = counters.setdefault(key, CounterItem())
            item.mark = ""
            apply_pending(item, [part])
    return Stored(counters)


@pytest.mark.parametrize("part", range(4))
def test_naive_counter_and_fold_agree(part: int, seed: int) -> None:
    """On any log, whatever its disorder, all counters of the fold are those of the recount."""
    late = forgotten = 0
    for number in range(100):
        log = random_log(random.Random(f"{seed} {part} {number}"))
        recounted = count_events(log)
        late += recounted.cut_by_arrival
        forgotten += recounted.forgotten_ids
        result = compare(folded(log), recounted, Window({}, None, None), set())
        assert result.differences == [], f"log {number}"
        assert (result.not_recounted, result.unknown, result.unsettled) == (set(), 0, 0)
    assert late, "no log had an event between two visits"
    assert forgotten, "no log repeated an id from long before"
