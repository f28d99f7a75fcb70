"""One core for each worker process, where there are as many processes as cores.

A process of many threads has one interpreter, which they hand to each other all the time. On one core that is a
matter of microseconds; across cores each handing over wakes the other core first. Measured by `bench.ingest`: a fifth
more requests a second, and half of the time that the slowest hundredth takes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys


class Cores:
    """Who has which core. Made by the parent, and used by its children.

    Args:
        workers: processes that there will be; with fewer than there are cores, none keeps to one.
    """

    def __init__(self, workers: int) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        if workers < len(self._cores):
            self._cores = []
        self._owners = multiprocessing.Array("i", max(1, len(self._cores)))

    def claim(self) -> int | None:
        """Keep this process to a core that no other one has; None when there is none to be had."""
        if sys.platform != "linux":
            return None
        with self._owners.get_lock():
            for place, core in enumerate(self._cores):
                # A worker that has ended may have been followed by another one.
                if not _is_running(self._owners[place]):
                    self._owners[place] = os.getpid()
                    # All threads: libraries may have started some.
                    for thread in map(int, os.listdir("/proc/self/task")):
                        os.sched_setaffinity(thread, {core})
                    return core
        return None


def _is_running(pid: int) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        # Another user's process has the number by now.
        return False
    return True
