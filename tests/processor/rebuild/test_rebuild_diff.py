"""The difference between two generations of counters: only what is whole, over and lasting is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from liveinsight.counting.keys import CounterKey, dimension_key, totals_key
from liveinsight.model.buckets import DAY_MS, HOUR_MS, day_from_number, local_day_and_hour, quarter_of
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.sites.site import plain_sites
from liveinsight.storage.store import CounterWrite, Store
from liveinsight.storage.stream import OutRecord, Stream
from liveinsight.testing.builders import FakeClock, MemoryStore, MemoryStream, an_event
from processor.embedded.generation_worker import threads_of, worker_of
from processor.rebuild.diff import compare_generations, scope_of
from processor.rebuild.replay import Replay
from processor.verify.comparison import Difference

UTC = Settings.from_env({})
SHARDS = [f"shardId-{number:012d}" for number in range(2)]


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.05)


def put(stream: Stream, first: int, last: int, at: int) -> None:
    events = [an_event(at=at, visitor=number, event_id=number) for number in range(first, last)]
    outcomes = stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])
    assert all(outcome.sequence_number for outcome in outcomes)


def corrupt(store: Store, key: CounterKey, shards: list[str], amount: int) -> None:
    """Make a stored counter wrong, as an older release might have."""
    for shard in shards:
        for item in store.load_counters(shard, [key]).values():
            item.measures["pageviews"] += amount
            assert not store.write_counters(shard, [CounterWrite.of(key, item.mark, item, 0)]).refused
            return
    raise AssertionError(f"{key} is not there")


def counted_twice(clock: FakeClock) -> tuple[MemoryStore, MemoryStore]:
    """Two generations with the same events of the last days."""
    stores = (MemoryStore(), MemoryStore())
    stream = MemoryStream(clock, shards=2, created_at=1)
    for hours in (60, 36, 13, 1):
        put(stream, hours * 1000, hours * 1000 + 20, clock() - hours * HOUR_MS)
    for store in stores:
        worker = worker_of(UTC, stream, store, 2, threads_of(UTC, stream, store, clock))
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        eventually(lambda: worker.progress.events == 80)  # noqa: B023
        stop.set()
        thread.join()
    return stores


def told(
    old: Store, new: Store, now: int, *, since: int | None = None, wait: Callable[[], None] = lambda: None
) -> list[Difference]:
    """The differences, once what arrived since (None: since five days before) is replayed."""
    replay = Replay(now - 5 * DAY_MS, since, now)
    return compare_generations(
        old, new, scope_of(replay, plain_sites(UTC.sites), new.counted_days(), now, now), wait
    ).differences


def day_of(at: int) -> int:
    return local_day_and_hour(at, UTC.sites["default"])[0]


def day_text(at: int) -> str:
    return day_from_number(day_of(at)).isoformat()


def bucket_text(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(at / 1000))


def test_diff_names_what_differs_the_largest_first(clock: FakeClock) -> None:
    """Equal generations do not differ; each wrong measure is named with both numbers."""
    old, new = counted_twice(clock)
    now = clock()
    assert told(old, new, now) == []
    corrupt(old, totals_key("default", quarter_of(now - 13 * HOUR_MS)), SHARDS, -3)
    corrupt(old, dimension_key("default", day_of(now - 36 * HOUR_MS), "page", "/"), SHARDS, 5)
    assert [(each.place, each.measure, each.recounted - each.stored) for each in told(old, new, now)] == [
        (day_text(now - 36 * HOUR_MS), "pageviews", -5),
        (bucket_text(now - 13 * HOUR_MS), "pageviews", 3),
    ]


def test_diff_leaves_out_what_is_not_whole_or_not_over(clock: FakeClock) -> None:
    """Buckets before the replay's first record, and days and buckets that still go on, are not compared."""
    old, new = counted_twice(clock)
    now = clock()
    corrupt(old, totals_key("default", quarter_of(now - 36 * HOUR_MS)), SHARDS, 1)
    corrupt(old, totals_key("default", quarter_of(now - 1 * HOUR_MS)), SHARDS, 1)
    corrupt(old, dimension_key("default", day_of(now), "page", "/"), SHARDS, 1)
    since = now - 30 * HOUR_MS
    assert [each.place for each in told(old, new, now, since=since)] == [bucket_text(now - HOUR_MS)]
    assert told(old, new, now - 30 * 60_000, since=since) == []


def test_diff_finds_what_only_one_of_them_has(clock: FakeClock) -> None:
    """A counter that only the older generation has differs, too, also on a day that the new one does not know."""
    old, new = counted_twice(clock)
    now = clock()
    longest_ago = now - 60 * HOUR_MS
    for shard, key in list(new.counters):
        if key.bucket in {day_of(longest_ago), quarter_of(longest_ago)}:
            del new.counters[shard, key]
    assert {each.place for each in told(old, new, now)} == {day_text(longest_ago), bucket_text(longest_ago)}
    assert {each.place for each in told(new, old, now)} == {day_text(longest_ago), bucket_text(longest_ago)}


def test_diff_leaves_out_what_is_changing(clock: FakeClock) -> None:
    """A difference that is another one after both have counted on is no finding."""
    old, new = counted_twice(clock)
    key = totals_key("default", quarter_of(clock() - 13 * HOUR_MS))
    corrupt(old, key, SHARDS, 4)
    assert told(old, new, clock(), wait=lambda: corrupt(old, key, SHARDS, -1)) == []
