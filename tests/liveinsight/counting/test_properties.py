"""The algebra that counting rests on: what may be cut, merged, reordered or read more coarsely without a difference."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveinsight.counting.contributions import Contribution
from liveinsight.counting.counters import CounterItem, merge_items
from liveinsight.counting.keys import totals_key
from liveinsight.counting.rollups import BY_NAME, DIMENSIONS, Scope
from liveinsight.counting.sessions import SESSION_GAP_MS, Session
from liveinsight.model.buckets import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    QUARTER_MS,
    day_number,
    days_between,
    local_day_and_hour,
    local_midnight_ms,
    quarter_of,
)
from liveinsight.model.events import CLICK, CONVERSION, HEARTBEAT, PAGE_VIEW, Event, encode_record
from liveinsight.storage.stream import Record
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.counters import apply_pending
from liveinsight.testing.expected import Numbers, Tally, recount, stored_in
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.simulation import random_log
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

GAP_MINUTES = SESSION_GAP_MS // MINUTE_MS

added = st.tuples(
    st.dictionaries(st.sampled_from(["pageviews", "visits", "bounces", "duration_ms"]), st.integers(-9, 9), max_size=3),
    st.integers(-1, 23),
    st.integers(0, 6),
)
deltas = st.lists(added, min_size=1, max_size=12)


Parts = Sequence[tuple[dict[str, int], int, int]]


def marked(parts: Parts) -> list[Contribution]:
    return [Contribution(totals_key("default", 0), f"{number:03d}", *part) for number, part in enumerate(parts, 1)]


def applied(*batches: Sequence[Contribution]) -> CounterItem:
    item = CounterItem()
    for batch in batches:
        apply_pending(item, batch)
    return item


def plain(item: CounterItem) -> tuple[dict[str, int], dict[int, int], int]:
    """An item without zeros and mark."""
    measures = {name: amount for name, amount in item.measures.items() if amount}
    return measures, {hour: views for hour, views in item.hours.items() if views}, item.visitors


# --- contributions ---------------------------------------------------------------------------------------------------


@given(deltas, st.data())
def test_batches_may_be_cut_anywhere_and_come_again(parts: Parts, data: st.DataObject) -> None:
    """Contributions in one batch, in two, or in two that overlap as after a replay make the same item."""
    pending = marked(parts)
    cut = data.draw(st.integers(0, len(pending)))
    again = data.draw(st.integers(0, cut))
    whole = applied(pending)
    for item in (applied(pending[:cut], pending[cut:]), applied(pending[:cut], pending[again:], pending)):
        assert (plain(item), item.mark) == (plain(whole), whole.mark)


@given(deltas, st.data())
def test_contributions_may_be_spread_over_shards(parts: Parts, data: st.DataObject) -> None:
    """Items of any division among shards, merged in any order and grouping, are the item of all contributions."""
    pending = marked(parts)
    shards = data.draw(st.lists(st.integers(0, 3), min_size=len(pending), max_size=len(pending)))
    items = [applied([p for p, s in zip(pending, shards, strict=True) if s == shard]) for shard in range(4)]
    order = data.draw(st.permutations(items))
    cut = data.draw(st.integers(0, 4))
    in_groups = merge_items([merge_items(order[:cut]), merge_items(order[cut:])])
    assert plain(merge_items(order)) == plain(in_groups) == plain(applied(pending))


@given(deltas, st.data())
def test_contributions_commute(parts: Parts, data: st.DataObject) -> None:
    """An item holds the same whatever the order of the contributions that make it."""
    assert plain(applied(marked(data.draw(st.permutations(parts))))) == plain(applied(marked(parts)))


# --- batches ---------------------------------------------------------------------------------------------------------


class Nowhere:
    def checkpoint(self, sequence_number: str) -> None:
        """Nobody goes on from here."""


def processed(events: Sequence[Event], rng: random.Random, most: int) -> Tally:
    """Through the real processor: up to `most` events a record, records a batch, and seconds between batches."""
    clock, store = FakeClock(), MemoryStore()
    options = ProcessorOptions(counters_interval=1, previews_interval=2, sessions_interval=3)
    processor = RecordProcessor(store, 1, options, clock, sleep=lambda _: None)
    processor.initialize("shardId-000000000000", "")
    waiting, records = list(events), list[Record]()
    while waiting:
        size = rng.randint(1, most)
        records.append(Record(str(len(records) + 1), "b001", encode_record(waiting[:size]), clock()))
        del waiting[:size]
    while records:
        size = rng.randint(1, most)
        processor.process_records(records[:size], Nowhere(), 0)
        del records[:size]
        clock.advance(seconds=rng.randint(0, most))
    processor.shutdown_requested(Nowhere())
    return stored_in(store)


def without_marks(tally: Tally) -> tuple[object, ...]:
    states = []
    for state in tally.sessions.values():
        state.mark = ""
        states.append(state)
    timelines = {session: [event for _, event in events] for session, events in tally.timelines.items()}
    return tally.counters, sorted(states, key=lambda s: s.visitor), timelines


@pytest.mark.parametrize("seed", range(60))
def test_batch_bounds_change_nothing(seed: int) -> None:
    """The same events leave the same behind, however they are cut into records, batches and flushes."""
    rng = random.Random(seed)
    events = [entry for entry in random_log(rng, 60, NOON, "default") if isinstance(entry, Event)]
    one_by_one = without_marks(processed(events, rng, 1))
    assert without_marks(processed(events, rng, 5)) == one_by_one, f"seed {seed}"
    assert without_marks(processed(events, rng, 1000)) == one_by_one, f"seed {seed}"


# --- buckets ---------------------------------------------------------------------------------------------------------

ODD_DAYS = [
    ("Asia/Kolkata", date(2026, 9, 21)),
    ("Asia/Kathmandu", date(2026, 9, 21)),
    ("America/St_Johns", date(2026, 12, 21)),
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/Havana", date(2026, 3, 8)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
]
LENGTHS: dict[str, dict[int, float]] = {
    "Europe/Berlin": {3: 23, 10: 25},
    "America/Havana": {3: 23},
    "Australia/Lord_Howe": {4: 24.5, 10: 23.5},
}


def quarters_of(day: date, zone: ZoneInfo) -> range:
    next_day = date.fromordinal(day.toordinal() + 1)
    return range(quarter_of(local_midnight_ms(day, zone)), quarter_of(local_midnight_ms(next_day, zone)))


@pytest.mark.parametrize(("name", "day"), ODD_DAYS)
def test_quarters_tile_local_hours_and_days(name: str, day: date) -> None:
    """A local day is a run of whole 15-minute buckets without a gap, and so is each of its hours, four to an hour."""
    zone = ZoneInfo(name)
    quarters = quarters_of(day, zone)
    assert len(quarters) == 4 * LENGTHS.get(name, {}).get(day.month, 24)
    by_hour: dict[int, int] = defaultdict(int)
    for quarter in quarters:
        first = local_day_and_hour(quarter * QUARTER_MS, zone)
        assert first == local_day_and_hour(quarter * QUARTER_MS + QUARTER_MS - 1, zone)
        assert first[0] == day_number(day)
        by_hour[first[1]] += 1
    usual = [count for count in by_hour.values() if count == 4]
    # A switch makes one hour of a day longer or shorter, or takes it away.
    assert len(usual) >= len(by_hour) - 1 >= 22
    for outside in (quarters[0] - 1, quarters[-1] + 1):
        assert local_day_and_hour(outside * QUARTER_MS, zone)[0] != day_number(day)


def random_days(seed: int, name: str, middle: date) -> tuple[list[date], Numbers]:
    """Three days of a zone, and the counters of random events in them."""
    rng, zone = random.Random(seed), ZoneInfo(name)
    days = [date.fromordinal(middle.toordinal() + shift) for shift in (-1, 0, 1)]
    start = local_midnight_ms(days[0], zone)
    end = quarters_of(days[2], zone).stop * QUARTER_MS
    events = [
        an_event(
            at=rng.randrange(start, end),
            zone=name,
            visitor=rng.randint(1, 40),
            event_id=number + 1,
            type=rng.choice([PAGE_VIEW, PAGE_VIEW, CLICK, CONVERSION, HEARTBEAT]),
            page=rng.choice(["/a", "/b"]),
            conversion_type="sale",
        )
        for number in range(300)
    ]
    return days, recount((f"{number:04d}", event) for number, event in enumerate(events)).counters


def summed(counters: Numbers, measure: str, keys: Sequence[tuple[object, ...]]) -> int:
    return sum(measures.get(measure, 0) for key, (measures, _, _) in counters.items() if key[: len(keys[0])] in keys)


@pytest.mark.parametrize(("name", "day"), ODD_DAYS)
def test_reading_coarse_equals_summing_fine(name: str, day: date) -> None:
    """In every zone a day's totals, 15 minutes at a time, are its dimension rows, and so are the hours inside them."""
    zone = ZoneInfo(name)
    days, counters = random_days(day.toordinal(), name, day)
    for number, one in enumerate(days):
        quarters = [("totals", "default", quarter) for quarter in quarters_of(one, zone)]
        of_day = {d.name: [("dimension", "default", day_number(one), d.name)] for d in DIMENSIONS}
        for dimension in ("page", "event"):
            assert BY_NAME[dimension].scope is Scope.EVENT
            for measure in ("events", "pageviews", "clicks", "conversions", "heartbeats"):
                fine = summed(counters, measure, quarters)
                assert summed(counters, measure, of_day[dimension]) == fine > 0, f"day {number}: {measure}"
        for measure in ("visits", "bounces", "duration_ms"):
            assert summed(counters, measure, of_day["source"]) == summed(counters, measure, quarters)
        by_hour: dict[int, int] = defaultdict(int)
        for quarter in quarters:
            hour = local_day_and_hour(quarter[2] * QUARTER_MS, zone)[1]
            by_hour[hour] += summed(counters, "pageviews", [quarter])
        for value in ("/a", "/b"):
            measures, hours, _ = counters["dimension", "default", day_number(one), "page", value]
            assert sum(hours.values()) == measures["pageviews"]
            for hour, views in hours.items():
                by_hour[hour] -= views
        assert set(by_hour.values()) == {0}


@given(st.dates(date(2020, 1, 1), date(2035, 12, 31)), st.sampled_from([name for name, _ in ODD_DAYS]))
def test_local_days_follow_each_other(day: date, name: str) -> None:
    """The buckets of a day end where those of the next begin, and every bucket knows its day."""
    zone = ZoneInfo(name)
    today, tomorrow = (quarters_of(one, zone) for one in days_between(day, date.fromordinal(day.toordinal() + 1)))
    assert today.stop == tomorrow.start
    assert {local_day_and_hour(q * QUARTER_MS, zone)[0] for q in (today[0], today[-1])} == {day_number(day)}
    assert 23 * HOUR_MS <= len(today) * QUARTER_MS <= 25 * HOUR_MS < 2 * DAY_MS


# --- sessions --------------------------------------------------------------------------------------------------------


def visits_of(events: Sequence[Event]) -> tuple[list[dict[str, object]], Numbers]:
    """All visits, and all counters but the live ones: who is present is a matter of arrival."""
    tally = recount((f"{number:04d}", event) for number, event in enumerate(events))
    (state,) = tally.sessions.values()
    counters = {key: value for key, value in tally.counters.items() if key.kind != "minute"}
    return sorted((facts(session) for session in state.sessions), key=str), counters


def facts(session: Session) -> dict[str, object]:
    """A visit without the id it was given for the event that happened to arrive first."""
    names = "started_at last_at day hour rows measures bounced entry_page exit_page current_page duration_ms".split()
    return {"id": session.id if session.given_id else "", **{name: getattr(session, name) for name in names}}


@settings(max_examples=200)
@given(st.data())
def test_order_of_arrival_does_not_matter_within_a_gap(data: st.DataObject) -> None:
    """Visits no longer than the gap, more than a gap apart: whatever the order of arrival, the same visits.

    minute   0 ....... 30       61 ....... 91
             [ visit 1 ]        [ visit 2  ]      each of up to two tabs
    """
    events: list[Event] = []
    for visit in range(data.draw(st.integers(1, 3))):
        start = NOON + visit * (2 * GAP_MINUTES + 1) * MINUTE_MS
        offsets = data.draw(st.lists(st.integers(0, SESSION_GAP_MS), min_size=1, max_size=5, unique=True))
        for offset in offsets:
            events.append(
                an_event(
                    at=start + offset,
                    event_id=len(events) + 1,
                    type=data.draw(st.sampled_from([PAGE_VIEW, PAGE_VIEW, CLICK, HEARTBEAT])),
                    page=data.draw(st.sampled_from(["/a", "/b", "/c"])),
                    source=data.draw(st.sampled_from(["Google", "Bing"])),
                    session_id=data.draw(st.sampled_from(["", "", f"tab-{visit}"])),
                )
            )
    in_order = visits_of(sorted(events, key=lambda event: event.occurred_at))
    assert visits_of(data.draw(st.permutations(events))) == in_order


def test_event_between_two_visits_joins_the_later_one() -> None:
    """The one exception: an event that fits two visits joins the later, and the two are not merged.

    minute    0         25        50
    arrives   1st       3rd       2nd
    in order  [-------------------]
    as it is  [-]       [---------]
    """
    first, middle, last = (an_event(at=NOON + minute * MINUTE_MS, page=f"/{minute}") for minute in (0, 25, 50))
    whole, split = (
        sorted((visit["started_at"], visit["last_at"]) for visit in visits_of(arrived)[0])
        for arrived in ([first, middle, last], [first, last, middle])
    )
    assert whole == [(NOON, NOON + 50 * MINUTE_MS)]
    assert split == [(NOON, NOON), (NOON + 25 * MINUTE_MS, NOON + 50 * MINUTE_MS)]
