"""Each worker process has a core of its own, where there is one for each."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from typing import Any

import pytest

from liveinsight.runtime.cpu_affinity import Cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cores are kept to on Linux only")


def _claim(cores: Cores, answer: Connection) -> None:
    answer.send((cores.claim(), os.sched_getaffinity(0)))
    answer.recv()


class Worker:
    """A child that claims a core and stays until it is told to end."""

    def __init__(self, cores: Cores) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_claim, args=(cores, theirs), daemon=True)
        self._process.start()
        told: Any = self._ours.recv()
        self.core, self.affinity = told

    def end(self) -> None:
        self._ours.send("end")
        self._process.join(10)


def test_as_many_workers_as_cores_have_one_each() -> None:
    """No two share a core; one more than there are cores is free to run anywhere; a place is taken over."""
    available = os.sched_getaffinity(0)
    cores = Cores(len(available))
    workers = [Worker(cores) for _ in available]
    assert {worker.core for worker in workers} == available
    assert all(worker.affinity == {worker.core} for worker in workers)
    more = Worker(cores)
    assert (more.core, more.affinity) == (None, available)
    more.end()
    ended = workers.pop()
    ended.end()
    again = Worker(cores)
    assert again.core == ended.core
    for worker in (*workers, again):
        worker.end()


def test_fewer_workers_than_cores_keep_to_none() -> None:
    """The system knows better which core is free."""
    worker = Worker(Cores(len(os.sched_getaffinity(0)) - 1))
    assert (worker.core, worker.affinity) == (None, os.sched_getaffinity(0))
    worker.end()
