"""Garbage collection and thread switching, set once per process after start-up.

In: nothing. Out: changed settings of the interpreter. `bench.ingest` and `bench.memory` measure the effect.
What is loaded at start-up stays for good, so it is frozen: the collector skips it from then on. Requests, events and
contributions hold no reference cycles, so collections can be rare.
"""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.05
"""How long a thread runs before it must yield. By default a waiting thread asks for the interpreter every 5 ms, and
with 200 waiting threads those wake-ups cost more than the requests. A thread that waits for Kinesis yields anyway."""
INGEST_THRESHOLDS = (20_000, 20, 20)
WORKER_THRESHOLDS = (200_000, 20, 50)


def tune_for_requests() -> None:
    """Set up a process that serves many requests, each mostly waiting. Call it when everything is imported."""
    sys.setswitchinterval(SWITCH_SECONDS)
    _collect_rarely(INGEST_THRESHOLDS)


def tune_for_records() -> None:
    """Set up a process that folds records. Default collection takes nearly half of its CPU time."""
    _collect_rarely(WORKER_THRESHOLDS)


def _collect_rarely(thresholds: tuple[int, int, int]) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
