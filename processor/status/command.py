"""`liveinsight status`: how far each shard is counted, by which worker, and whether that is healthy.

    shards, a record of each, checkpoints, watermarks, leases  ->  facts  ->  verdict  ->  screen or JSON
                                                               disk of one machine  ->

The exit code is for monitoring. "Unhealthy" needs a second look some seconds later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import click
from rich.console import Console

from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.command_line import Number, json_option
from liveinsight.runtime.terminal_text import json_text
from liveinsight.settings import Settings
from liveinsight.storage.backend import Backend
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.stream import StartAt
from liveinsight.wiring import open_backend
from processor.status import view
from processor.status.facts import Facts, gather
from processor.status.health import LIMIT_SECONDS, History, StreamStatus, judge

LEASE_SECONDS = 4.0
"""Pause before the second look: the Kinesis Client Library renews a lease every 3.3 seconds."""
LONGEST_WAIT = 30.0
WATCH_SECONDS = 2.0
HEALTHY, UNHEALTHY, CANNOT_TELL = 0, 1, 2
_seconds = Number(0.1, 86_400)


class Watcher:
    """Gathers facts, remembers the earlier ones, and judges.

    Args:
        look: returns the current facts.
        limit_ms: how long records may wait without a flush.
        patience: seconds within which a live worker makes progress.
    """

    def __init__(
        self,
        look: Callable[[], Facts],
        limit_ms: int,
        patience: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._look = look
        self._limit_ms = limit_ms
        self._patience = patience
        self._sleep = sleep
        self._history = History()

    def look(self) -> StreamStatus:
        """One look."""
        facts = self._look()
        self._history.note(facts)
        return judge(facts, self._history, self._limit_ms)

    def look_twice(self) -> StreamStatus:
        """One look; more of them while the verdict is unhealthy, until patience ends."""
        status = self.look()
        waited = 0.0
        while waited < self._patience and not status.healthy:
            self._sleep(1.0)
            waited += 1.0
            status = self.look()
        leases = any(shard.facts.lease for shard in status.shards)
        if leases and waited < LEASE_SECONDS:
            self._sleep(LEASE_SECONDS - waited)
            status = self.look()
        return status


@click.command()
@click.option(
    "--watch",
    is_flag=False,
    flag_value=str(WATCH_SECONDS),
    type=_seconds,
    metavar="[SECONDS]",
    help=f"look every SECONDS (default {WATCH_SECONDS:g}) until Ctrl-C",
)
@json_option
@click.option(
    "--limit",
    type=_seconds,
    default=LIMIT_SECONDS,
    metavar="SECONDS",
    help="maximum time without a flush while records wait",
)
@click.option("--generation", type=int, metavar="N", help="generation of counters (default: the one being written)")
@click.option("--disk", is_flag=True, help="on one machine: measure what is stored by kind, also when it is much")
@click.option("--lease-table", metavar="NAME", help="lease table, if it is not the one of `worker --runtime kcl`")
def command(
    watch: float | None, limit: float, generation: int | None, lease_table: str | None, *, disk: bool, as_json: bool
) -> int:
    """Show each shard of the stream: parents and children, how far it is counted, last flush, backlog, and owner.

    It works for all workers: embedded, Kinesis Client Library, Lambda.

    Exit code 0: healthy. 1: unhealthy: a shard has a backlog and has not flushed for --limit seconds. A worker that is
    behind but makes progress is healthy, and so is an idle stream. 2: wrong usage, or the backend does not answer. With
    --watch it is the code of the last look. Before it says 1, and to see whether leases are renewed, it looks again
    after some seconds.

    One look costs a GetRecords of one record per shard, a few small reads, and a Scan of the lease table (a few rows
    per shard) if there is one. On one machine it also tells what takes the disk: --disk reads all that is stored, a
    second for each GB.

    \b
    Examples:
      liveinsight status --watch
      liveinsight status --json --limit 300 || alert
    """
    console = Console(highlight=False, markup=False)
    try:
        settings = Settings.from_env(os.environ)
        backend = open_backend(settings)
        watcher, generation = _wire(settings, backend, generation, lease_table, limit=limit, clock=system_clock)
    except LiveInsightError as error:
        return _cannot_tell(error)
    stream = settings.stream_name if settings.on_aws else backend.place

    def show(status: StreamStatus) -> None:
        use = backend.disk_use(measure=disk)
        if as_json:
            values = view.as_json(status, stream=stream, generation=generation, disk=use)
            click.echo(json_text(values, indent=None if watch else 2))
        else:
            limit_ms = round(limit * 1000)
            screen = view.screen(status, stream=stream, generation=generation, limit_ms=limit_ms, disk=use)
            console.print(screen)

    if watch is None:
        return _once(watcher.look_twice, show)
    return _watch(watcher, show, watch, console if console.is_terminal and not as_json else None)


def _watch(watcher: Watcher, show: Callable[[StreamStatus], None], seconds: float, screen: Console | None) -> int:
    """Look again and again until Ctrl-C, each time on a clear screen; returns the code of the last look."""
    code = HEALTHY
    try:
        while True:
            if screen:
                screen.clear()
            code = _once(watcher.look, show)
            time.sleep(seconds)
    except KeyboardInterrupt:
        return code


def _wire(
    settings: Settings, backend: Backend, generation: int | None, lease_table: str | None, *, limit: float, clock: Clock
) -> tuple[Watcher, int]:
    generation = generation or load_pointer(backend.store(FIRST)).newest
    stream, store = backend.stream(), backend.store(generation)

    def look() -> Facts:
        # LATEST applies to the first start only: later generations count from the oldest record.
        start_at = settings.start_at if generation == FIRST else StartAt.TRIM_HORIZON
        return gather(stream, store, backend.leases(generation, lease_table or ""), now=clock(), start_at=start_at)

    patience = min(max(LEASE_SECONDS, 2 * settings.sessions_interval + 1), LONGEST_WAIT)
    return Watcher(look, round(limit * 1000), patience), generation


def _once(look: Callable[[], StreamStatus], show: Callable[[StreamStatus], None]) -> int:
    try:
        status = look()
        show(status)
    except LiveInsightError as error:
        return _cannot_tell(error)
    return HEALTHY if status.healthy else UNHEALTHY


def _cannot_tell(error: LiveInsightError) -> int:
    click.echo(f"liveinsight status: {error}", err=True)
    return CANNOT_TELL
