"""Pins each worker process to a core, if there are at least as many processes as cores.

The threads of a process take turns with the interpreter lock. On one core a turn takes microseconds; across cores each
turn wakes the other core first. `bench.ingest` measures the effect.
"""

from __future__ import annotations

import multiprocessing
import os
import sys


class Cores:
    """Assigns cores to processes. Made by the parent, used by its children.

    Args:
        workers: number of processes; with fewer processes than cores, none is pinned.
    """

    def __init__(self, workers: int) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        if workers < len(self._cores):
            self._cores = []
        self._owners = multiprocessing.Array("i", max(1, len(self._cores)))

    def claim(self) -> int | None:
        """Pin this process to a free core and return the core; None if there is none."""
        if sys.platform != "linux":
            return None
        with self._owners.get_lock():
            for place, core in enumerate(self._cores):
                # The core of an ended worker is free for its successor.
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
        # The number now belongs to a process of another user.
        return False
    return True
