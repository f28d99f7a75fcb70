"""What a rebuild has replayed, and from which day on that may be shown."""

from __future__ import annotations

import threading
import time
from datetime import date

import pytest

from liveinsight.model.buckets import DAY_MS, HOUR_MS, local_midnight_ms
from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.sites.site import plain_sites
from liveinsight.storage.store import Watermark
from liveinsight.storage.stream import OutRecord, Shard, StartAt, Stream
from liveinsight.testing.builders import NOON, FakeClock, MemoryStore, MemoryStream, an_event
from processor.embedded.generation_worker import threads_of, worker_of
from processor.rebuild.cutover_day import choose_cutover_day, first_whole_day
from processor.rebuild.replay import PacedStream, Replay, begin_replay, counted_until, load_replay

SETTINGS = Settings.from_env({"LIVEINSIGHT_SITES": "default=UTC west=America/New_York east=Asia/Tokyo"})
ROOT = "shardId-000000000000"
LOG_DAY = date(2015, 5, 18)


def put(stream: Stream, first: int, last: int, at: int) -> None:
    events = [an_event(at=at, visitor=number, event_id=number) for number in range(first, last)]
    outcomes = stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])
    assert all(outcome.sequence_number for outcome in outcomes)


def replay(since: int | None = None, incarnation: int = 0) -> Replay:
    return Replay(incarnation, since, NOON)


def test_first_whole_day_is_whole_in_every_zone() -> None:
    """A moment on a day leaves that day out, and east of UTC the day begins earlier."""
    noon = local_midnight_ms(date(2026, 11, 20), SETTINGS.sites["default"]) + 12 * HOUR_MS
    zones = SETTINGS.sites.values()
    assert first_whole_day(noon, [SETTINGS.sites["default"]]) == date(2026, 11, 21)
    assert first_whole_day(noon + 4 * HOUR_MS, zones) == date(2026, 11, 22), "in Tokyo the 21st has begun"
    assert first_whole_day(noon - 12 * HOUR_MS, [SETTINGS.sites["default"]]) == date(2026, 11, 20)


def test_cutover_day_by_default() -> None:
    """The first day that begins after the first record, and later by what a visit may be silent and clocks differ."""
    utc = Settings.from_env({})
    midnight = local_midnight_ms(date(2026, 11, 20), utc.sites["default"])
    now = midnight + 3 * DAY_MS
    assert choose_cutover_day(replay(since=midnight - 2 * HOUR_MS), plain_sites(utc.sites), now, None) == 20261120
    assert choose_cutover_day(replay(since=midnight - 10 * 60_000), plain_sites(utc.sites), now, None) == 20261121
    assert choose_cutover_day(replay(incarnation=midnight + 1), plain_sites(utc.sites), now, None) == 20261121


def test_cutover_day_when_no_day_is_whole() -> None:
    """A stream that holds too little is refused with the reason; force takes today."""
    utc = Settings.from_env({})
    midnight = local_midnight_ms(date(2026, 11, 20), utc.sites["default"])
    short = replay(since=midnight - 60_000)
    with pytest.raises(LiveInsightError, match=r"2026-11-19 23:59:00Z.*until 2026-11-21 has begun"):
        choose_cutover_day(short, plain_sites(utc.sites), midnight + 23 * HOUR_MS, None)
    assert choose_cutover_day(short, plain_sites(utc.sites), midnight + 23 * HOUR_MS, None, force=True) == 20261120


def test_cutover_day_that_is_asked_for() -> None:
    """A day that is not whole is refused unless nothing was dropped, or by force; a day to come always is."""
    utc = Settings.from_env({})
    midnight = local_midnight_ms(date(2026, 11, 20), utc.sites["default"])
    trimmed, whole = replay(since=midnight - 2 * HOUR_MS), replay(incarnation=midnight - 2 * HOUR_MS)
    with pytest.raises(LiveInsightError, match="--from-day 2026-11-20 or later"):
        choose_cutover_day(trimmed, plain_sites(utc.sites), midnight + DAY_MS, LOG_DAY)
    assert choose_cutover_day(trimmed, plain_sites(utc.sites), midnight + DAY_MS, LOG_DAY, force=True) == 20150518
    assert choose_cutover_day(whole, plain_sites(utc.sites), midnight + DAY_MS, LOG_DAY) == 20150518
    assert choose_cutover_day(trimmed, plain_sites(utc.sites), midnight + DAY_MS, date(2026, 11, 20)) == 20261120
    with pytest.raises(LiveInsightError, match="has not begun in all time zones"):
        choose_cutover_day(whole, plain_sites(SETTINGS.sites), midnight + HOUR_MS, date(2026, 11, 20), force=True)


def test_replay_of_a_young_stream_holds_all(clock: FakeClock) -> None:
    """A stream that is younger than the least retention has dropped nothing."""
    stream = MemoryStream(clock)
    clock.advance(hours=23)
    assert begin_replay(stream, MemoryStore(), clock(), lambda _: None).since is None


def test_replay_of_an_old_stream_begins_with_its_first_record(clock: FakeClock) -> None:
    """What arrived before the latest of the shards' first records is not claimed."""
    stream = MemoryStream(clock, shards=1)
    clock.advance(hours=10)
    put(stream, 1, 3, clock())
    first = clock()
    clock.advance(hours=48)
    put(stream, 3, 5, clock())
    assert begin_replay(stream, MemoryStore(), clock(), lambda _: None).since == first
    empty = MemoryStream(clock, shards=1, created_at=clock() - 99 * DAY_MS)
    assert begin_replay(empty, MemoryStore(), clock(), lambda _: None).since == clock() - DAY_MS


def test_replay_that_is_gone_on_with(clock: FakeClock) -> None:
    """Going on keeps what was noted if all shards have begun; after more than a day's rest it is refused."""
    stream, store = MemoryStream(clock, shards=1), MemoryStore()
    begun = begin_replay(stream, store, clock(), lambda _: None)
    put(stream, 1, 3, clock())
    worker = worker_of(SETTINGS, stream, store, 2, threads_of(SETTINGS, stream, store, clock))
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    give_up_at = time.monotonic() + 10
    while not store.checkpoints:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    stop.set()
    thread.join()
    clock.advance(hours=23)
    assert begin_replay(stream, store, clock(), lambda _: None) == begun == load_replay(store)
    clock.advance(hours=2)
    with pytest.raises(LiveInsightError, match="paused for more than a day"):
        begin_replay(stream, store, clock(), lambda _: None)
    with pytest.raises(LiveInsightError, match="re-created"):
        begin_replay(MemoryStream(clock), store, clock(), lambda _: None)
    with pytest.raises(LiveInsightError, match="nothing is replayed"):
        load_replay(MemoryStore())


def test_counted_until_needs_every_shard() -> None:
    """A shard that has not begun, or tells of an earlier stream, makes the whole unknown; a closed one does not."""
    shards = [Shard("a", ()), Shard("b", ())]
    assert counted_until(shards, [Watermark("a", 5, False, 1)], 1) is None
    assert counted_until(shards, [Watermark("a", 5, False, 1), Watermark("b", 3, False, 0)], 1) is None
    assert counted_until(shards, [Watermark("a", 5, False, 1), Watermark("b", 3, False, 1)], 1) == 3
    assert counted_until(shards, [Watermark("a", 5, False, 1), Watermark("b", 3, True, 1)], 1) == 5


def test_paced_stream_leaves_reads_to_the_worker(clock: FakeClock) -> None:
    """Reads in one thread keep their distance."""
    slept: list[float] = []
    stream = PacedStream(MemoryStream(clock), 7.0, slept.append)
    iterator = stream.iterator(ROOT, after=None, start=StartAt.TRIM_HORIZON)
    stream.read(iterator, 1)
    stream.read(iterator, 1)
    assert slept[1] == pytest.approx(7.0, abs=0.5)
