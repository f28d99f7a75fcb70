"""The copy of the sites that a process works with: how fresh it is, and that it is never in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.sites.cache import LOST_MS, PATIENCE_SECONDS, SiteDirectory
from liveinsight.sites.site import Site, Sites
from liveinsight.testing.builders import FakeClock

ONE, TWO = (Sites(sites=(Site(name=name),), default=name) for name in ("one", "two"))


class Loads:
    """What is stored, and how often it was read; an error in its place is raised."""

    def __init__(self) -> None:
        self.stored: Sites | LiveInsightError = ONE
        self.count = 0

    def __call__(self) -> Sites:
        self.count += 1
        if isinstance(self.stored, LiveInsightError):
            raise self.stored
        return self.stored


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def directory(loads: Loads, clock: FakeClock) -> SiteDirectory:
    return SiteDirectory(loads, clock, run=lambda work: work())


def test_a_change_is_seen_within_seconds(loads: Loads, directory: SiteDirectory, clock: FakeClock) -> None:
    """The sites are read once, and again when they are two seconds old; not at each request."""
    assert directory() is ONE
    loads.stored = TWO
    clock.advance(seconds=1.9)
    assert [directory() for _ in range(100)] == [ONE] * 100
    assert loads.count == 1
    clock.advance(seconds=0.1)
    assert directory() is TWO
    assert loads.count == 2


def test_a_clock_that_is_set_back_does_not_freeze_the_copy(
    loads: Loads, directory: SiteDirectory, clock: FakeClock
) -> None:
    """An hour back is a reason to look again."""
    directory()
    loads.stored = TWO
    clock.advance(hours=-1)
    assert directory() is TWO


@pytest.mark.parametrize("problem", [StoreUnavailable("away"), LiveInsightError("written by a later release")])
def test_the_last_known_sites_stay_in_use(
    loads: Loads, directory: SiteDirectory, clock: FakeClock, problem: LiveInsightError,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """While the store is away or says nothing sensible, for as long as it takes; it is logged once per outage."""
    directory()
    loads.stored = problem
    for _ in range(100):
        clock.advance(seconds=10)
        assert directory() is ONE
    assert len(caplog.records) == 1
    loads.stored = TWO
    clock.advance(seconds=10)
    assert directory() is TWO


def test_without_any_sites_nothing_can_be_answered(loads: Loads, directory: SiteDirectory, clock: FakeClock) -> None:
    """Then the store is unavailable, and asked again every two seconds only, until it answers."""
    loads.stored = StoreUnavailable("away")
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            directory()
    assert loads.count == 1
    loads.stored = ONE
    clock.advance(seconds=2)
    assert directory() is ONE


def run_in_threads(work: Callable[[], object], count: int) -> float:
    """Seconds that so many threads need to do it at once."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def test_a_store_that_hangs_delays_nobody_for_long(clock: FakeClock) -> None:
    """While a read hangs, requests wait a third of a second at most, once; then they go on with what is known."""
    hanging = threading.Event()
    answers: list[Sites] = []
    count = 0

    def load() -> Sites:
        nonlocal count
        count += 1
        if count > 1:
            hanging.wait(30)
        return ONE if count == 1 else TWO

    directory = SiteDirectory(load, clock)
    directory()
    clock.advance(hours=1)
    assert run_in_threads(lambda: answers.append(directory()), 8) < PATIENCE_SECONDS + 5
    began = time.monotonic()
    answers.extend(directory() for _ in range(1_000))
    # Waiting each time would be minutes.
    assert time.monotonic() - began < 5
    assert (set(map(id, answers)), count) == ({id(ONE)}, 2)
    hanging.set()
    give_up_at = time.monotonic() + 5
    while directory() is not TWO:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_a_refresh_that_got_lost_is_begun_again(loads: Loads, clock: FakeClock) -> None:
    """A thread that does not come back (it stayed behind in a forked process) blocks refreshing for a minute only."""
    lost: list[Callable[[], None]] = []
    directory = SiteDirectory(loads, clock, run=lost.append)
    directory()
    loads.stored = TWO
    clock.advance(seconds=3)
    assert directory() is ONE
    clock.advance(seconds=LOST_MS / 1000)
    directory()
    assert len(lost) == 2
    lost[1]()
    assert directory() is TWO
    lost[0]()
    assert directory() is TWO


def test_after_a_long_pause_the_first_request_sees_what_is_new(
    loads: Loads, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that had nothing to do for hours waits for the thread that reads, which is a little late here."""
    monkeypatch.setattr("liveinsight.sites.cache.PATIENCE_SECONDS", 30)
    directory = SiteDirectory(loads, clock, run=lambda work: threading.Timer(0.05, work).start())
    assert directory() is ONE
    loads.stored = TWO
    clock.advance(hours=1)
    assert directory() is TWO


def test_many_threads_need_one_read(loads: Loads) -> None:
    """At the first request as well as later."""
    directory = SiteDirectory(loads, system_clock)
    run_in_threads(directory, 8)
    assert loads.count == 1
