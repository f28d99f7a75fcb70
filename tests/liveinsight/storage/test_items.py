"""Stored items, as a copy to another backend reads and writes them: held against SQLite and MiniStack."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from liveinsight.bootstrap import initialise
from liveinsight.counting.contributions import Contribution
from liveinsight.counting.counters import CounterItem, encode_counter
from liveinsight.counting.keys import LIVE, CounterKey, dimension_key, minute_key, totals_key
from liveinsight.counting.previews import CounterPreview, VisitorPreview
from liveinsight.counting.sessions import encode_visitor, new_visitor
from liveinsight.counting.timeline import encode_timeline, timeline_event
from liveinsight.model.ids import own_session_id
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.settings import Settings
from liveinsight.storage.backend import Backend
from liveinsight.storage.items import ItemStore, Page, Salt, StoredChunk, StoredCounter, StoredItem, StoredVisitor
from liveinsight.storage.store import Checkpoint, CounterWrite, DeadLetter, TimelineChunk, VisitorWrite, Watermark
from liveinsight.testing.builders import NOON, an_event
from liveinsight.testing.counters import apply_pending
from liveinsight.wiring import open_backend

SHARDS = [f"shardId-{number:012d}" for number in (0, 1, 17)]
FAR = 4_000_000_000
DAY = 20260922


@pytest.fixture(params=["sqlite", "ministack"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """An empty one."""
    if request.param == "sqlite":
        return open_backend(request.getfixturevalue("on_sqlite"))
    settings = Settings.from_env(request.getfixturevalue("aws_environ"))
    initialise(settings)
    return open_backend(settings)


def mark(shard: str, number: int) -> str:
    return event_mark(record_mark(mark_prefix(NOON, shard), str(number)), 0)


def an_item(number: int) -> CounterItem:
    item = CounterItem()
    views = Contribution(totals_key("", 0), mark(SHARDS[0], number + 1), {"pageviews": 1}, 12, number + 1)
    apply_pending(item, [views])
    return item


def some_counters(rng: random.Random, count: int) -> list[StoredItem]:
    keys: list[CounterKey] = []
    for number in range(count):
        site = rng.choice(["blog", "shop"])
        value = rng.choice(["", "/ä#~!", "(other)", "/a b"]) + str(number)
        keys.append(
            rng.choice(
                [
                    totals_key(site, 4 * number),
                    minute_key(site, number, rng.choice(["", LIVE])),
                    dimension_key(site, DAY, "page", value),
                ]
            )
        )
    return [
        StoredCounter(shard, key, mark(shard, 5), encode_counter(an_item(number)), rng.choice([0, FAR]))
        for number, key in enumerate(keys)
        for shard in [rng.choice(SHARDS)]
    ]


def some_sessions(rng: random.Random, count: int) -> list[StoredItem]:
    items: list[StoredItem] = []
    for number in range(count):
        visitor, first, last = rng.getrandbits(64), mark(SHARDS[0], number + 1), mark(SHARDS[0], number + 2)
        name = rng.choice([own_session_id(visitor, NOON), f"with#{number}~"])
        event = timeline_event(an_event(visitor=visitor))
        items.append(StoredVisitor("blog", visitor, last, encode_visitor(new_visitor("blog", visitor)), FAR))
        items.append(
            StoredChunk("blog", name, first, last, visitor, encode_timeline([(first, event), (last, event)]), FAR)
        )
    return items


def pages_of(items: ItemStore, after: str = "") -> Iterator[Page]:
    while page := items.page(after):
        yield page
        after = page.position


def everything(items: ItemStore, after: str = "") -> list[StoredItem]:
    return [item for page in pages_of(items, after) for item in page.items]


def test_what_is_put_is_read_once(backend: Backend, rng: random.Random) -> None:
    """Thousands of items of all kinds, over several pages; written twice, they are there once."""
    put = some_counters(rng, 1_200) + some_sessions(rng, 600)
    items = backend.items(1)
    items.put_items(put)
    items.put_items(put[::7])
    assert sorted(everything(items), key=repr) == sorted(put, key=repr)
    assert items.differing(put) == []


def test_reading_goes_on_behind_any_page(backend: Backend, rng: random.Random) -> None:
    """Also in another process: a position is text."""
    backend.items(1).put_items(some_counters(rng, 1_100) + some_sessions(rng, 550))
    pages = list(pages_of(backend.items(1)))
    assert len(pages) >= 3
    for number, page in enumerate(pages):
        rest = [item for later in pages[number + 1 :] for item in later.items]
        assert everything(backend.items(1), page.position) == rest


def test_differences_are_found(backend: Backend, rng: random.Random) -> None:
    """A missing item, another mark, another body, another expiry."""
    put = some_counters(rng, 4) + some_sessions(rng, 2)
    items = backend.items(1)
    items.put_items(put[1:])
    changed = [put[0], *(item._replace(expires_at=FAR + 1) for item in put[1:])]
    assert sorted(items.differing(changed), key=repr) == sorted(changed, key=repr)
    others = [item._replace(data=b"x") for item in put[1:3]]
    assert items.differing([*others, *put[3:]]) == others
    marked = [item._replace(mark="x") for item in put[1:4] if not isinstance(item, StoredChunk)]
    assert items.differing(marked) == marked


def test_items_are_those_of_the_store(backend: Backend) -> None:
    """What the worker writes is read as an item, and what is put as an item is what the API reads; the rest is left
    out."""
    store, shard = backend.store(1), SHARDS[2]
    state = new_visitor("blog", 7)
    state.mark = mark(shard, 3)
    keys = [totals_key("blog", 8), minute_key("blog", 9, LIVE), dimension_key("blog", DAY, "page", "/#")]
    store.write_counters(shard, [CounterWrite.of(key, "", an_item(3), FAR) for key in keys])
    store.write_visitors([VisitorWrite.of(state, FAR, is_new=True)])
    events = [(mark(shard, 3), timeline_event(an_event()))]
    store.write_timeline([TimelineChunk("blog", "own", events, FAR, 7)])
    store.write_previews(
        shard,
        [CounterPreview("blog", DAY, "page", state.mark, b"", FAR)],
        [VisitorPreview("blog", state.mark, [state], whole=True, expires_at=FAR)],
    )
    store.write_watermark(Watermark(shard, NOON, False, NOON))
    store.write_checkpoint(shard, Checkpoint(NOON, "3"))
    store.write_dead_letters([DeadLetter(shard, state.mark, "r", "m", b"d", NOON, FAR)])
    store.salt_of_day(DAY, b"salt", FAR)
    found = everything(backend.items(1))
    assert {item.key for item in found if isinstance(item, StoredCounter)} == set(keys)
    assert {item.shard_id for item in found if isinstance(item, StoredCounter)} == {shard}
    assert {item for item in found if not isinstance(item, StoredCounter)} == {
        StoredVisitor("blog", 7, state.mark, encode_visitor(state), FAR),
        StoredChunk("blog", "own", state.mark, state.mark, 7, encode_timeline(events), FAR),
    }
    assert backend.items(1).salts([DAY - 1, DAY]) == [Salt(DAY, b"salt", FAR)]
