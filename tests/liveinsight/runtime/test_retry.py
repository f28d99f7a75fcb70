"""Retries: how often, how long, on which errors, and what ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from liveinsight.model.errors import StoreUnavailable, StreamRefused, StreamUnavailable
from liveinsight.runtime.retry import PAUSE_SECONDS, answer_or, retry, retry_until, retry_within, wait_until

PAUSE = 2.5


class Slept:
    """A sleep that takes no time; tells how long it would have taken."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def elapsed(self) -> float:
        return sum(self.pauses)


@pytest.fixture
def sleep() -> Slept:
    return Slept()


def failing(times: int, error: Exception) -> Callable[[], str]:
    """A call that fails so many times, and then answers."""
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "answer"

    return call


def test_error_names_its_pause(sleep: Slept) -> None:
    """The pause is the error's `retry_after`, or a second."""
    assert retry(failing(2, StreamUnavailable("", retry_after=PAUSE)), StreamUnavailable, attempts=3, sleep=sleep)
    assert retry(failing(1, StoreUnavailable("")), (StoreUnavailable, StreamUnavailable), attempts=2, sleep=sleep)
    assert sleep.pauses == [PAUSE, PAUSE, PAUSE_SECONDS]


def test_last_attempt_raises_and_does_not_sleep(sleep: Slept) -> None:
    """As many calls as attempts, and a pause between two only."""
    with pytest.raises(StreamUnavailable):
        retry(failing(3, StreamUnavailable("")), StreamUnavailable, attempts=3, sleep=sleep)
    assert len(sleep.pauses) == 2


def test_other_errors_pass_at_once(sleep: Slept) -> None:
    """Only the named errors are worth another try."""
    refused = StreamRefused("")
    with pytest.raises(StreamRefused):
        retry(failing(1, refused), StreamUnavailable, attempts=3, sleep=sleep)
    with pytest.raises(StreamRefused):
        retry_within(9, failing(1, refused), StreamUnavailable, elapsed=sleep.elapsed, sleep=sleep)
    with pytest.raises(StreamRefused):
        retry_until(lambda: False, failing(1, refused), StreamUnavailable, sleep=sleep)
    with pytest.raises(StreamRefused):
        answer_or("", failing(1, refused), StreamUnavailable)
    assert sleep.pauses == []


def test_tries_within_a_time(sleep: Slept) -> None:
    """The first failure at the end of the time is raised."""
    error = StreamUnavailable("", retry_after=PAUSE)
    assert retry_within(5, failing(2, error), StreamUnavailable, elapsed=sleep.elapsed, sleep=sleep) == "answer"
    with pytest.raises(StreamUnavailable):
        retry_within(5, failing(3, error), StreamUnavailable, elapsed=sleep.elapsed, sleep=sleep)
    assert sleep.pauses == [PAUSE] * 4


def test_stop_event_ends_the_retries() -> None:
    """The event wakes the sleep, and there is no further call."""
    stop = threading.Event()
    calls: list[bool] = []

    def call() -> str:
        calls.append(stop.is_set())
        threading.Timer(0.01, stop.set).start()
        raise StreamUnavailable("away", retry_after=60)

    assert retry_until(stop.is_set, call, StreamUnavailable, sleep=stop.wait) is None
    assert retry_until(stop.is_set, call, StreamUnavailable, sleep=stop.wait) is None
    assert calls == [False]


def test_failures_without_an_end_are_logged(sleep: Slept, caplog: pytest.LogCaptureFixture) -> None:
    """An operator sees what a worker waits for."""
    assert retry_until(lambda: False, failing(2, StoreUnavailable("away")), StoreUnavailable, sleep=sleep) == "answer"
    assert answer_or(7, failing(1, StoreUnavailable("away")), StoreUnavailable) == 7
    told = [(record.__dict__["action"], record.__dict__["problem"]) for record in caplog.records]
    assert told == [("wait", "away")] * 3


@pytest.mark.parametrize(
    ("answers", "alive", "expected", "asked"),
    [([False, True], True, True, 2), ([False] * 99, True, False, 10), ([True], False, False, 0)],
    ids=["ready in time", "never ready", "ended"],
)
def test_waiting_until_something_is_ready(
    sleep: Slept, *, answers: list[bool], alive: bool, expected: bool, asked: int
) -> None:
    """It ends when the thing is ready, when the time is over, and when the process has died."""
    left = iter(answers)
    calls: list[None] = []

    def ready() -> bool:
        calls.append(None)
        return next(left)

    assert wait_until(ready, possible=lambda: alive, seconds=0.95, elapsed=sleep.elapsed, sleep=sleep) is expected
    assert len(calls) == asked
