"""Which flush is due, on the timeline of one shard: counters each second, previews each 5, everything each 20."""

from __future__ import annotations

import pytest

from liveinsight.testing.builders import FakeClock
from processor.shard.flush_schedule import Flush, FlushSchedule
from processor.shard.options import ProcessorOptions

OPTIONS = ProcessorOptions(counters_interval=1, previews_interval=5, sessions_interval=20, pending_limit=100)


@pytest.fixture
def schedule(clock: FakeClock) -> FlushSchedule:
    """Everything was flushed just now."""
    schedule = FlushSchedule(OPTIONS, clock)
    schedule.done(Flush.ALL, clock())
    return schedule


def test_the_largest_flush_that_is_due_is_made(schedule: FlushSchedule, clock: FakeClock) -> None:
    """A flush does the work of the smaller ones, so it also moves their due times."""
    timeline = ""
    for _ in range(21):
        flush = schedule.due(pending=1, has_records=True, millis_behind=0)
        timeline += {None: ".", Flush.COUNTERS: "c", Flush.PREVIEWS: "p", Flush.ALL: "A"}[flush]
        if flush:
            schedule.done(flush, clock())
        clock.advance(seconds=1)
    assert timeline == ".ccccpccccpccccpccccA"


def test_shard_that_is_behind_makes_full_flushes_only(schedule: FlushSchedule, clock: FakeClock) -> None:
    """It catches up first."""
    clock.advance(seconds=19)
    assert schedule.due(pending=1, has_records=True, millis_behind=5_000) is None
    clock.advance(seconds=1)
    assert schedule.due(pending=1, has_records=True, millis_behind=5_000) is Flush.ALL


def test_too_much_pending_forces_a_full_flush(schedule: FlushSchedule) -> None:
    """At any time."""
    assert schedule.due(pending=100, has_records=True, millis_behind=0) is None
    assert schedule.due(pending=101, has_records=True, millis_behind=0) is Flush.ALL


def test_long_flush_is_followed_by_a_rest_while_records_come(schedule: FlushSchedule, clock: FakeClock) -> None:
    """Twice its duration, at most ten seconds; a quiet shard needs none."""
    began = clock()
    clock.advance(seconds=2)
    assert schedule.done(Flush.COUNTERS, began) == 2_000
    clock.advance(seconds=3.9)
    assert schedule.due(pending=1, has_records=True, millis_behind=0) is None
    assert schedule.due(pending=1, has_records=False, millis_behind=0) is Flush.PREVIEWS
    clock.advance(seconds=0.1)
    assert schedule.due(pending=1, has_records=True, millis_behind=0) is Flush.PREVIEWS
