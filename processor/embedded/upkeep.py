"""The upkeep of the backend, in a thread beside the worker.

In: the backend's `upkeep`, and a stop event. Out: a call every second. A failure is logged, and the next call tries
again: counting never ends because of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.retry import answer_or

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0


@contextmanager
def upkeep(call: Callable[[int], Mapping[str, int]], clock: Clock, *, seconds: float = TICK_SECONDS) -> Iterator[None]:
    """Make the call every so many seconds while the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            if deleted := answer_or({}, lambda: call(clock()), LiveInsightError):
                logger.info("upkeep", extra={"action": "upkeep", **deleted})

    thread = threading.Thread(target=run, name="upkeep")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
