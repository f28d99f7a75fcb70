"""Generations of counters: the pointer, and a reader that asks the right generation for everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import pytest

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.keys import CounterKey, dimension_key, minute_key, totals_key
from liveinsight.counting.layout import storage_item
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import timeline_event
from liveinsight.model.buckets import DAY_MS, HOUR_MS, day_from_number, local_midnight_ms, quarter_of
from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import (
    Active,
    Pointer,
    forgotten,
    load_pointer,
    load_versioned_pointer,
    save_pointer,
    switched,
    switched_back,
)
from liveinsight.storage.generation_reader import GenerationalReader
from liveinsight.storage.store import CounterWrite, Document, Store, TimelineChunk, VisitorWrite, Watermark
from liveinsight.testing.builders import FakeClock, MemoryStore, an_event

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = {"default": ZoneInfo("UTC"), "shop": BERLIN}
D18, D19, D20, D21, D22 = 20261118, 20261119, 20261120, 20261121, 20261122
SHARD = "shardId-000000000000"
FAR = 4_000_000_000


def midnight(day: int, zone: ZoneInfo = ZONES["default"]) -> int:
    return local_midnight_ms(day_from_number(day), zone)


def count(store: Store, key: CounterKey, views: int) -> None:
    where, name = storage_item(key)
    known = store.load_counters(SHARD, [where]).get(where)
    item = known or CounterItem()
    (item.embedded.setdefault(name, CounterItem()) if name else item).measures["pageviews"] = views
    item.mark = f"m{views}"
    assert not store.write_counters(SHARD, [CounterWrite.of(where, item.mark if known else "", item, 0)]).refused


def views(rows: Sequence[tuple[int | str, CounterItem]]) -> dict[int | str, int]:
    return {place: item.measures["pageviews"] for place, item in rows}


class Generations:
    """Three memory stores, and a reader over those that the pointer names."""

    def __init__(self, clock: FakeClock) -> None:
        self.stores = {1: MemoryStore(), 2: MemoryStore(), 3: MemoryStore()}
        self.loads = 0
        self.reader = GenerationalReader(lambda number: self.stores[number], self._load, lambda: ZONES, clock)

    def _load(self) -> Pointer:
        self.loads += 1
        return load_pointer(self.stores[1])

    def switch(self, generation: int, from_day: int) -> None:
        pointer, version = load_versioned_pointer(self.stores[1])
        save_pointer(self.stores[1], switched(pointer, generation, from_day, version), version)


@pytest.fixture
def generations(clock: FakeClock) -> Generations:
    return Generations(clock)


def test_without_a_pointer_there_is_the_first_generation_only(generations: Generations) -> None:
    """A product that was never rebuilt reads and writes generation 1, for all days."""
    assert load_pointer(generations.stores[1]) == Pointer((Active(1, 0),))
    count(generations.stores[1], totals_key("default", 5), 1)
    assert views(generations.reader.read_totals("default", 0, 10).rows) == {5: 1}


def test_switch_back_and_forget() -> None:
    """A switch cuts what held from its day on; going back restores what was, one switch at a time."""
    first = Pointer()
    second = switched(first, 2, D20, 7)
    assert second.active == (Active(1, 0), Active(2, D20))
    third = switched(second, 3, D19, 8)
    assert third.active == (Active(1, 0), Active(3, D19))
    assert third.newest == 3
    assert switched(second, 3, D20, 8).active == (Active(1, 0), Active(3, D20))
    assert switched_back(third, 9).active == second.active
    assert switched_back(switched_back(third, 9), 9).active == first.active
    with pytest.raises(LiveInsightError, match="nothing to roll back"):
        switched_back(first, 9)
    assert forgotten(third, 2, 9).history == (first.active,)


def test_of_two_operators_one_is_refused(generations: Generations) -> None:
    """Who saves a pointer that somebody else has replaced since gets an error, and nothing changes."""
    store = generations.stores[1]
    pointer, version = load_versioned_pointer(store)
    save_pointer(store, switched(pointer, 2, D20, 1), version)
    with pytest.raises(LiveInsightError, match="another command"):
        save_pointer(store, switched(pointer, 3, D21, 2), version)
    assert load_pointer(store).newest == 2


def test_pointer_of_a_later_release_is_refused(generations: Generations) -> None:
    """A pointer that cannot be read is an error of ours, not a guess."""
    generations.stores[1].save_document("pointer", Document(1, '{"active": "?"}'))
    with pytest.raises(LiveInsightError, match="cannot be read"):
        load_pointer(generations.stores[1])


def test_each_day_comes_from_one_generation(generations: Generations) -> None:
    """A breakdown's day comes from the last generation that holds by then, whatever the others say of it."""
    for number, store in generations.stores.items():
        for day in (D19, D20, D21, D22):
            count(store, dimension_key("default", day, "page", "/"), number)
            count(store, dimension_key("decoy", day, "page", "/"), 100)
    generations.switch(2, D20)
    generations.switch(3, D22)
    told = {day: views(generations.reader.read_dimension("default", day, "page").rows)["/"] for day in (D19, D20, D21)}
    assert told == {D19: 1, D20: 2, D21: 2}
    assert views(generations.reader.read_dimension("default", D22, "page").rows) == {"/": 3}


@pytest.mark.parametrize("site", ["default", "shop"])
def test_totals_change_hands_at_the_sites_own_midnight(generations: Generations, site: str) -> None:
    """The older generation gives the buckets before the local day, the newer those from it on; none comes twice."""
    start = quarter_of(midnight(D21, ZONES[site]))
    for number, store in generations.stores.items():
        for quarter in range(start - 100, start + 100):
            count(store, totals_key(site, quarter), number)
    generations.switch(2, D21)
    read = generations.reader.read_totals(site, start - 3, start + 2)
    assert sorted((quarter - start, item.measures["pageviews"]) for quarter, item in read.rows) == [
        (-3, 1), (-2, 1), (-1, 1), (0, 2), (1, 2), (2, 2),
    ]  # fmt: skip
    assert read.items_read == 2  # an hour of each generation
    for first, last, holder in ((-9, -1, 1), (0, 9, 2)):
        rows = generations.reader.read_totals(site, start + first, start + last).rows
        assert {item.measures["pageviews"] for _, item in rows} == {holder}


def test_day_that_the_older_knows_nothing_about(generations: Generations) -> None:
    """A log imported after the switch shows on days that were empty, and does not mix with days that were not."""
    old, new = generations.stores[1], generations.stores[2]
    before, known, empty = (quarter_of(midnight(day)) for day in (D18, D19, D20))
    count(old, totals_key("default", known + 40), 1)
    for quarter in (before + 8, known + 8, known + 40, empty + 8):
        count(new, totals_key("default", quarter), 2)
    for day in (D19, D20):
        count(new, dimension_key("default", day, "page", "/"), 2)
    generations.switch(2, D21)
    whole = generations.reader.read_totals("default", before, quarter_of(midnight(D22)))
    assert views(whole.rows) == {before + 8: 2, known + 40: 1, empty + 8: 2}
    assert views(generations.reader.read_dimension("default", D20, "page").rows) == {"/": 2}
    assert generations.reader.read_dimension("default", D19, "page").rows == []


def test_items_read_stay_bounded(generations: Generations) -> None:
    """A breakdown of a day that the older generation has costs what it cost before the switch."""
    for store in generations.stores.values():
        count(store, dimension_key("default", D19, "page", "/"), 1)
        count(store, totals_key("default", quarter_of(midnight(D19)) + 3), 1)
    before = generations.reader.read_dimension("default", D19, "page").items_read
    generations.switch(2, D21)
    assert generations.reader.read_dimension("default", D19, "page").items_read == before == 1


def test_what_is_live_comes_from_the_newest(generations: Generations, clock: FakeClock) -> None:
    """Live minutes, recent visitors and watermarks are those of the generation that is written."""
    minute = clock() // 60_000
    for number, store in generations.stores.items():
        count(store, minute_key("default", minute), number)
        state = VisitorState(site="default", visitor=number, mark="m", seen_at=clock())
        store.write_visitors([VisitorWrite.of(state, FAR, is_new=True)])
        store.write_watermark(Watermark(SHARD, number, False, 1))
    generations.switch(2, D21)
    reader = generations.reader
    assert views(reader.read_minutes("default", minute, minute).rows) == {minute: 2}
    assert [state.visitor for state in reader.read_visitors([("default", 1), ("default", 2)]).rows] == [2]
    assert [mark.as_of for mark in reader.read_watermarks().rows] == [2]


def test_timeline_is_the_newest_that_there_is(generations: Generations) -> None:
    """A session that ended before the replay is found in the older generation."""
    for number, session in ((1, "both"), (2, "both"), (1, "old")):
        chunk = TimelineChunk("default", session, [(f"m{number}", timeline_event(an_event(event_id=number)))], FAR)
        generations.stores[number].write_timeline([chunk])
    generations.switch(2, D21)
    told = {name: generations.reader.read_timeline("default", name, 9).rows for name in ("both", "old", "none")}
    assert {name: [event.event_id for _, event in rows] for name, rows in told.items()} == {
        "both": [2], "old": [1], "none": [],
    }  # fmt: skip


def test_pointer_is_looked_at_every_five_seconds(generations: Generations, clock: FakeClock) -> None:
    """A change is seen within five seconds, and the pointer is not read more often than that."""
    generations.stores[1].write_watermark(Watermark(SHARD, 1, False, 1))
    generations.stores[2].write_watermark(Watermark(SHARD, 2, False, 1))

    def as_of() -> int:
        return generations.reader.read_watermarks().rows[0].as_of

    assert as_of() == 1
    generations.switch(2, D21)
    clock.advance(seconds=4.9)
    assert [as_of(), as_of(), generations.loads] == [1, 1, 1]
    clock.advance(seconds=0.1)
    assert [as_of(), as_of(), generations.loads] == [2, 2, 2]


def test_pointer_that_cannot_be_read_for_a_while(
    generations: Generations, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage keeps the pointer that is known; without any the answer is that the store is unavailable."""

    def away(_: str) -> Document:
        raise StoreUnavailable("away")

    monkeypatch.setattr(generations.stores[1], "load_document", away)
    with pytest.raises(StoreUnavailable):
        generations.reader.read_watermarks()
    monkeypatch.undo()
    generations.switch(2, D21)
    generations.stores[2].write_watermark(Watermark(SHARD, 2, False, 1))
    assert generations.reader.read_watermarks().rows[0].as_of == 2
    monkeypatch.setattr(generations.stores[1], "load_document", away)
    clock.advance(hours=1)
    assert generations.reader.read_watermarks().rows[0].as_of == 2


@pytest.fixture(params=["memory", "ministack"])
def any_store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    settings: Settings = request.getfixturevalue("aws")
    open_aws: Callable[[Settings], tuple[object, Store]] = request.getfixturevalue("open_aws")
    return open_aws(settings)[1]


def test_note_is_replaced_by_the_next_version_only(any_store: Store) -> None:
    """A document is written if it is one version on, and what was refused changes nothing."""
    assert any_store.load_document("a") == Document(0, "")
    assert not any_store.save_document("a", Document(2, "too new"))
    assert any_store.save_document("a", Document(1, "one"))
    assert not any_store.save_document("a", Document(1, "other"))
    assert any_store.save_document("a", Document(2, "two"))
    assert not any_store.save_document("a", Document(4, "too new"))
    assert any_store.load_document("a") == Document(2, "two")
    assert any_store.load_document("b") == Document(0, "")


def test_counted_days(any_store: Store) -> None:
    """Sites and days are listed once each, by what was counted of them."""
    at = midnight(D20)
    count(any_store, dimension_key("default", D20, "page", "/a#b"), 1)
    count(any_store, dimension_key("default", D20, "country", "DE"), 1)
    count(any_store, dimension_key("shop", D19, "page", "/"), 1)
    count(any_store, totals_key("default", quarter_of(at + DAY_MS + HOUR_MS)), 1)
    count(any_store, minute_key("default", at // 60_000), 1)
    assert any_store.counted_days() == {("default", D20), ("shop", D19)}
