"""The flush of counters: groups, failures, and what waits for the sessions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from liveinsight.counting.contributions import Contribution
from liveinsight.counting.keys import LIVE, CounterKey, dimension_key, minute_key, totals_key
from liveinsight.counting.layout import Cadence, CounterGroup
from liveinsight.model.errors import StoreUnavailable
from liveinsight.storage.store import CounterWrite, Written
from liveinsight.testing.counters import split_items
from liveinsight.testing.memory_store import MemoryStore
from processor.shard.counter_writer import CounterWriter
from processor.shard.options import ProcessorOptions

SHARD = "shardId-000000000000"
TOTALS = totals_key("default", 1)
SOURCE, COUNTRY = (dimension_key("default", 20260922, *row) for row in (("source", "Google"), ("country", "DE")))
GROUP = CounterGroup((SOURCE, COUNTRY))
PRESENT = minute_key("default", 1, LIVE)


def stored(store: MemoryStore) -> dict[CounterKey, dict[str, int]]:
    items = split_items((key, item) for (_, key), item in store.counters.items())
    return {key: item.measures for key, item in items if item.measures}


def test_group_goes_to_all_of_its_counters(store: MemoryStore) -> None:
    """What a visit's rows get is in each of them."""
    writer = CounterWriter(store, SHARD, ProcessorOptions())
    writer.add(
        [
            Contribution(TOTALS, "1", {"events": 1}, -1, 7),
            Contribution(GROUP, "1", {"visits": 1, "pageviews": 1}, 12, 7),
        ]
    )
    writer.add([Contribution(GROUP, "2", {"pageviews": 2}, 12, 7)])
    assert writer.flush()
    assert stored(store) == {
        TOTALS: {"events": 1}, SOURCE: {"visits": 1, "pageviews": 3}, COUNTRY: {"visits": 1, "pageviews": 3},
    }  # fmt: skip
    assert [store.counters[SHARD, key].hours for key in (SOURCE, COUNTRY)] == [{12: 3}, {12: 3}]
    assert (writer.pending, writer.written) == (0, 3)


def test_counter_of_a_group_that_failed_is_tried_again_alone(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one of a group's counters is not written, only that one is pending, and nothing is added twice."""
    writer = CounterWriter(store, SHARD, ProcessorOptions())
    first = [Contribution(GROUP, "1", {"visits": 1}, -1, 0)]
    writer.add(first)
    real = store.write_counters

    def lose_country(shard: str, writes: Sequence[CounterWrite]) -> Written:
        lost = [index for index, write in enumerate(writes) if write.key == COUNTRY]
        real(shard, [write for write in writes if write.key != COUNTRY])
        return Written(unconfirmed=lost)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_counters", lose_country)
        with pytest.raises(StoreUnavailable):
            writer.flush()
    writer.add([Contribution(GROUP, "2", {"visits": 1}, -1, 0)])
    assert writer.flush()
    assert stored(store) == {SOURCE: {"visits": 2}, COUNTRY: {"visits": 2}}


def test_replay_that_is_ahead_in_part_adds_the_rest(store: MemoryStore) -> None:
    """Counters of a group whose marks differ each take exactly what they do not hold yet."""
    first = CounterWriter(store, SHARD, ProcessorOptions())
    first.add([Contribution(SOURCE, "2", {"visits": 1}, -1, 0)])
    assert first.flush()
    replay = CounterWriter(store, SHARD, ProcessorOptions())
    for mark in ("1", "2", "3"):
        replay.add([Contribution(GROUP, mark, {"visits": 1}, -1, 0)])
    assert replay.flush()
    assert stored(store) == {SOURCE: {"visits": 2}, COUNTRY: {"visits": 3}}


def test_live_counters_wait_for_the_medium_cadence(store: MemoryStore) -> None:
    """The large counters of present visitors are not written with the totals; nothing else waits for them."""
    writer = CounterWriter(store, SHARD, ProcessorOptions())
    writer.add([Contribution(TOTALS, "1", {"events": 1}, -1, 0), Contribution(PRESENT, "1", {"page=/a": 1}, -1, 0)])
    assert writer.flush(Cadence.FAST)
    assert stored(store) == {TOTALS: {"events": 1}}
    writer.add([Contribution(PRESENT, "2", {"page=/a": -1, "page=/b": 1}, -1, 0)])
    assert writer.flush()
    assert stored(store)[PRESENT] == {"page=/b": 1}
