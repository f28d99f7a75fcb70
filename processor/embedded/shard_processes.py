"""Drives shards in several processes of this machine, so that every core counts.

    worker                        child process, one of N
    begin(assignment)  --pipe-->  a thread for the shard (`ShardThreads`)
    changed, failure   <--pipe--  the shard has ended, or failed
    drain()            --pipe-->  drains its shards, answers with its progress, ends

A shard goes to the process with the fewest shards and stays there; the shards that it is split or merged into are
shared out anew. A child whose worker dies drains by itself: its pipe is closed then.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from liveinsight.model.errors import LiveInsightError
from processor.embedded.shard_threads import Assignment, ShardThreads
from processor.shard.progress import Progress

logger = logging.getLogger(__name__)

LISTEN_SECONDS = 0.2
"""How often a child looks for shards of its own that have ended."""


class Report(NamedTuple):
    """What a child tells."""

    progress: Progress
    running: int
    """Shards that it drives."""
    cpu_seconds: float
    failure: str
    """"" if there is none."""
    drained: bool


class _Child:
    """A child process, as the worker sees it."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.last = Report(Progress(), 0, 0.0, "", drained=False)
        self.begun = 0
        """Shards that were assigned since the last report."""

    @property
    def load(self) -> int:
        """Shards that it drives or is about to."""
        return self.last.running + self.begun


class ShardProcesses:
    """A `Crew` of processes.

    Args:
        processes: how many.
        make_threads: makes the `ShardThreads` of a child. It is pickled, and called in the child.
        preload: modules that the children share.
    """

    def __init__(self, processes: int, make_threads: Callable[[], ShardThreads], preload: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        self.changed = threading.Event()
        self.failure: BaseException | None = None
        self._children = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_run, args=(theirs, make_threads), name=f"shards-{number}")
            process.start()
            theirs.close()
            self._children.append(_Child(process, ours))
        self._listener = threading.Thread(target=self._listen, name="shard-processes", daemon=True)
        self._listener.start()

    @property
    def progress(self) -> Progress:
        return Progress.sum(child.last.progress for child in self._children)

    @property
    def cpu_seconds(self) -> float:
        return sum(child.last.cpu_seconds for child in self._children)

    def begin(self, assignment: Assignment) -> None:
        child = min(self._children, key=lambda each: each.load)
        child.begun += 1
        try:
            child.pipe.send(assignment)
        except OSError:
            self._ended(child)

    def drain(self) -> None:
        for child in self._children:
            try:
                child.pipe.send(None)
            except OSError:
                self._ended(child)
        self._listener.join()
        for child in self._children:
            child.process.join()

    def _listen(self) -> None:
        """Take reports until every child has ended."""
        open_pipes = {child.pipe: child for child in self._children}
        while open_pipes:
            for pipe in wait(list(open_pipes)):
                assert isinstance(pipe, Connection)
                child = open_pipes[pipe]
                try:
                    report: Report = pipe.recv()
                except (EOFError, OSError):
                    del open_pipes[pipe]
                    self._ended(child)
                    continue
                child.last, child.begun = report, 0
                if report.failure:
                    self.failure = self.failure or LiveInsightError(report.failure)
                self.changed.set()

    def _ended(self, child: _Child) -> None:
        if not child.last.drained and self.failure is None:
            child.process.join(1)
            self.failure = LiveInsightError(
                f"process {child.process.pid} of the worker has ended with code {child.process.exitcode}"
            )
        self.changed.set()


def _run(pipe: Connection, make_threads: Callable[[], ShardThreads]) -> None:
    """The child process."""
    # The worker says when to drain; a signal to the process group must not come first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threads = make_threads()
    try:
        while threads.failure is None:
            if pipe.poll(LISTEN_SECONDS):
                assignment: Assignment | None = pipe.recv()
                if assignment is None:
                    break
                threads.begin(assignment)
            if threads.changed.is_set():
                threads.changed.clear()
                pipe.send(_report(threads))
    except (EOFError, OSError):
        logger.warning("the worker has died: draining", extra={"action": "orphaned"})
    threads.drain()
    try:
        pipe.send(_report(threads, drained=True))
    except OSError:
        logger.warning("drained without the worker", extra={"action": "orphaned"})


def _report(threads: ShardThreads, *, drained: bool = False) -> Report:
    failure = threads.failure
    text = f"{failure}" if isinstance(failure, LiveInsightError) else repr(failure)
    return Report(threads.progress, threads.running, time.process_time(), text if failure else "", drained)
