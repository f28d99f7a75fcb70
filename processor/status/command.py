"""`liveinsight status`: is everything that arrives being counted, by whom, and how far are they?

    ListShards, a GetRecords per shard, checkpoints, watermarks, leases  ->  facts  ->  verdict  ->  screen or JSON

The exit code is for monitors. A verdict against a shard is given only after a second look some seconds later.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console

from liveinsight.aws.clients import dynamodb_client
from liveinsight.aws.kcl_tables import lease_table, read_leases
from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.terminal_text import json_text
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.stream import StartAt
from liveinsight.wiring import open_generations, open_stream
from processor.status.facts import Facts, gather
from processor.status.health import LIMIT_SECONDS, History, Status, judge
from processor.status.view import as_json, screen

LEASE_SECONDS = 4.0
"""The Kinesis Client Library renews a lease every 3.3 seconds: so long a second look waits to see it happen."""
LONGEST_WAIT = 30.0
WATCH_SECONDS = 2.0
HEALTHY, UNHEALTHY, CANNOT_TELL = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    """The command line of `liveinsight status`."""
    parser = argparse.ArgumentParser(
        prog="liveinsight status",
        description="Show each shard of the stream: its parents and children, how far it is counted, when it was last "
        "flushed, what waits, and who has it. For workers of all kinds: embedded, Kinesis Client Library, Lambda.",
        epilog="Exit code 0: healthy. 1: unhealthy, that is, a shard has not flushed for --limit seconds while records "
        "wait; a worker that is behind but moves is healthy, and so is an idle stream, whoever reads it or not. "
        "2: wrong usage, or it cannot be told because AWS does not answer. With --watch: of the last look. What it "
        "costs: a GetRecords of one record a shard, a few small reads, and a Scan of the Kinesis Client Library's "
        "lease table (a few rows a shard), when there is one. Before it says 1, and to see whether leases are "
        "renewed, it looks a second time after some seconds.",
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"look again and again, every {WATCH_SECONDS:g} seconds unless told otherwise, until Ctrl-C",
    )
    parser.add_argument("--json", action="store_true", help="as JSON on standard output; with --watch, one line a look")
    parser.add_argument(
        "--limit",
        type=_seconds,
        default=LIMIT_SECONDS,
        metavar="SECONDS",
        help="how long records may wait without a flush (default %(default)g)",
    )
    parser.add_argument(
        "--generation", type=int, metavar="N", help="of these counters (default: the one that is written now)"
    )
    parser.add_argument(
        "--lease-table",
        metavar="NAME",
        help="table of the Kinesis Client Library, if it is not the one that `worker --runtime kcl` uses",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("use seconds from 0.1 to 86400")
    return seconds


class Watcher:
    """Looks, remembers what moved, and judges.

    Args:
        look: gives the facts of now.
        limit_ms: how long records may wait without a flush.
        patience: seconds in which a worker that is alive moves something.
        sleep: waits.
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

    def look(self) -> Status:
        """One look."""
        facts = self._look()
        self._history.note(facts)
        return judge(facts, self._history, self._limit_ms)

    def look_twice(self) -> Status:
        """One look; if that is not enough to judge by, more of them until it is, or patience ends."""
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


def main(arguments: list[str]) -> int:
    """Entry point: exit code 0, 1 or 2 as the help says."""
    options = build_parser().parse_args(arguments)
    console = Console(highlight=False, markup=False)
    try:
        settings = Settings.from_env(os.environ)
        watcher, generation = _wire(settings, options, system_clock)
    except LiveInsightError as error:
        return _cannot_tell(error)
    show = partial(_show, settings, generation, options, console)
    if options.watch is None:
        return _once(watcher.look_twice, show)
    code = HEALTHY
    try:
        while True:
            if console.is_terminal and not options.json:
                console.clear()
            code = _once(watcher.look, show)
            time.sleep(options.watch)
    except KeyboardInterrupt:
        return code


def _wire(settings: Settings, options: argparse.Namespace, clock: Clock) -> tuple[Watcher, int]:
    stream, stores = open_stream(settings), open_generations(settings)
    generation = options.generation or load_pointer(stores(FIRST)).newest
    client = dynamodb_client(settings)
    table = options.lease_table or lease_table(settings.table_prefix, generation)

    def look() -> Facts:
        leases = read_leases(client, table)
        # LATEST is about a first start: later generations are counted from the oldest record on.
        start_at = settings.start_at if generation == FIRST else StartAt.TRIM_HORIZON
        return gather(stream, stores(generation), leases, now=clock(), start_at=start_at)

    patience = min(max(LEASE_SECONDS, 2 * settings.sessions_interval + 1), LONGEST_WAIT)
    return Watcher(look, round(options.limit * 1000), patience), generation


def _once(look: Callable[[], Status], show: Callable[[Status], None]) -> int:
    try:
        status = look()
    except LiveInsightError as error:
        return _cannot_tell(error)
    show(status)
    return HEALTHY if status.healthy else UNHEALTHY


def _show(settings: Settings, generation: int, options: argparse.Namespace, console: Console, status: Status) -> None:
    if options.json:
        values = as_json(status, stream=settings.stream_name, generation=generation)
        sys.stdout.write(json_text(values, indent=None if options.watch else 2) + "\n")
        sys.stdout.flush()
    else:
        limit_ms = round(options.limit * 1000)
        console.print(screen(status, stream=settings.stream_name, generation=generation, limit_ms=limit_ms))


def _cannot_tell(error: LiveInsightError) -> int:
    sys.stderr.write(f"liveinsight status: {error}\n")
    return CANNOT_TELL
