"""Time as an argument: every function that needs "now" takes a `Clock`."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives the current time in epoch milliseconds."""


def system_clock() -> int:
    """The machine's wall clock; only composition roots pass it in."""
    return time.time_ns() // 1_000_000
