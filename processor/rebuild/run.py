"""Runs a worker on the generation that is being built, and shows its progress.

In: the stream, the store of the new generation. Out: counters in that store, and a progress bar. It ends, drained, on a
signal, at the switch to the generation, or, if asked for, once it has caught up.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from liveinsight.model.clock import Clock
from liveinsight.model.errors import StoreUnavailable, StreamUnavailable
from liveinsight.runtime.report_text import duration_text
from liveinsight.settings import Settings
from liveinsight.storage.store import Store
from processor.embedded.generation_worker import run_until, threads_of, worker_of
from processor.rebuild.replay import PacedStream, Replay, counted_until

LOOK_SECONDS = 1.0
LOOKS_PER_POINTER = 5
POLL_INTERVAL = 1.0
"""Least number of seconds between reads of a quiet shard: the other worker needs some of the reads."""
INTERRUPTED = 130


class RebuildRun:
    """One run of `rebuild start`."""

    def __init__(
        self,
        settings: Settings,
        stream: PacedStream,
        store: Store,
        replay: Replay,
        clock: Clock,
        *,
        generation: int,
        console: Console,
        switched: Callable[[], bool],
    ) -> None:
        self._stream = stream
        self._store = store
        self._generation = generation
        self._replay = replay
        self._clock = clock
        self._console = console
        self._switched = switched
        self._began = clock()
        self._looks = 0
        self._caught_up = False
        self._is_switched = False
        interval = max(settings.poll_interval, POLL_INTERVAL)
        # Nobody looks at a generation before the switch: no site is previewed.
        crew = threads_of(settings, stream, store, clock, viewed=frozenset, poll_interval=interval)
        self._worker = worker_of(settings, stream, store, generation, crew)

    def run(self, *, until_caught_up: bool) -> int:
        """Count until there is a reason to end. Returns the exit code.

        Raises:
            LiveInsightError: a shard failed; the next run continues from the last checkpoint.
        """
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal, transient=True) as bar:
            span = max(1, self._began - self._replay.first_arrival)
            task = bar.add_task(f"generation {self._generation}", total=span, told="")
            run_until(
                self._worker,
                stop,
                lambda: self._look(bar, task, until_caught_up=until_caught_up),
                look_seconds=LOOK_SECONDS,
            )
        records = self._worker.progress.records
        self._say(f"drained; {records:,} records read in this run")
        if self._is_switched:
            self._say("this generation is active now: the worker continues with it")
        elif not until_caught_up or not self._caught_up:
            self._say("`liveinsight rebuild start` continues from here, within a day")
        return INTERRUPTED if until_caught_up and not self._caught_up and not self._is_switched else 0

    def _look(self, bar: Progress, task: TaskID, *, until_caught_up: bool) -> bool:
        try:
            marks = self._store.read_watermarks().rows
            reached = counted_until(self._stream.shards(), marks, self._replay.incarnation)
            self._looks += 1
            if self._looks % LOOKS_PER_POINTER == 0:
                self._is_switched = self._switched()
        except (StoreUnavailable, StreamUnavailable):
            return False  # The worker retries by itself.
        records = self._worker.progress.records
        if reached is not None:
            behind = duration_text(self._clock() - reached)
            bar.update(
                task, completed=reached - self._replay.first_arrival, told=f"{records:,} records, {behind} behind"
            )
            if reached > self._began and not self._caught_up:
                self._caught_up = True
                self._say(f"generation {self._generation} has caught up: {records:,} records read")
                if not until_caught_up:
                    self._say("following; next: `liveinsight rebuild diff`, then `liveinsight rebuild switch`")
        return self._is_switched or (until_caught_up and self._caught_up)

    def _say(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
