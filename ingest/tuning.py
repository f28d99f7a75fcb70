"""How the interpreter is set up for many threads that mostly wait. Measured by `bench.ingest`.

A thread that waits for the interpreter asks the running one to give way every 5 ms, and 200 of them are woken each time
only to ask. No request computes for longer than a few milliseconds, and it gives way by itself whenever it waits for
the stream: so asking is left for emergencies. And what is loaded at the start stays for good: the garbage collector
need not look at it again and again.
"""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.05
COLLECT_EVERY = 20_000
"""Objects made and not freed between two looks of the collector. Requests leave next to no cycles behind."""


def tune_process() -> None:
    """Set up the process; call it when all is loaded."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)
