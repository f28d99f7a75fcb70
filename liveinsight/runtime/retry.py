"""Retries and waiting: a failed call is made again after a pause.

In: a call, the errors that are worth another try, and a sleep. Out: the call's answer. An error may name its own pause
in `retry_after`. Promises: other errors pass at once; a caller that passes its stop event's `wait` as `sleep` is woken
by the event. Retries that are part of a protocol (flush, group commit, batches of DynamoDB) stay where they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
Otherwise = TypeVar("Otherwise")
Errors = type[Exception] | tuple[type[Exception], ...]
Sleep = Callable[[float], object]

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Pause after an error that names none."""
READY_PAUSE_SECONDS = 0.1


def retry(call: Callable[[], Answer], on: Errors, *, attempts: int, sleep: Sleep) -> Answer:
    """The answer of `call`, tried at most `attempts` times.

    Raises:
        The last error of the kinds `on`.
    """
    for _ in range(attempts - 1):
        try:
            return call()
        except on as error:
            sleep(_pause_after(error))
    return call()


def retry_within(
    seconds: float, call: Callable[[], Answer], on: Errors, *, elapsed: Callable[[], float], sleep: Sleep
) -> Answer:
    """The answer of `call`, tried until it has failed for `seconds`. Each failure is logged.

    Raises:
        The last error of the kinds `on`.
    """
    give_up_at = elapsed() + seconds
    while True:
        try:
            return call()
        except on as error:
            if elapsed() >= give_up_at:
                raise
            _log(error)
            sleep(_pause_after(error))


def retry_until(stopped: Callable[[], bool], call: Callable[[], Answer], on: Errors, *, sleep: Sleep) -> Answer | None:
    """The answer of `call`, tried until there is one; None when stopped before. Each failure is logged."""
    while not stopped():
        try:
            return call()
        except on as error:
            _log(error)
            sleep(_pause_after(error))
    return None


def answer_or(otherwise: Otherwise, call: Callable[[], Answer], on: Errors) -> Answer | Otherwise:
    """The answer of one `call`, or `otherwise` when it fails. The failure is logged: the caller asks again later."""
    try:
        return call()
    except on as error:
        _log(error)
        return otherwise


def wait_until(
    ready: Callable[[], bool],
    *,
    possible: Callable[[], bool],
    seconds: float,
    elapsed: Callable[[], float] = time.monotonic,
    sleep: Sleep = time.sleep,
) -> bool:
    """Ask `ready` every so often; False when `seconds` have passed or it is no longer `possible`."""
    give_up_at = elapsed() + seconds
    while elapsed() < give_up_at and possible():
        if ready():
            return True
        sleep(READY_PAUSE_SECONDS)
    return False


def _pause_after(error: Exception) -> float:
    return float(getattr(error, "retry_after", PAUSE_SECONDS))


def _log(error: Exception) -> None:
    logger.warning("waiting", extra={"action": "wait", "problem": str(error)})
