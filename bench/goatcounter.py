"""Ours beside GoatCounter, in one run on this machine: both as a small server would run them, with the same page views.

    load     page views from 32 and 256 connections: requests a second, p50, p99; memory of all processes
    loss     page views are acknowledged one by one, then every process is killed: how many are there after a restart
    fresh    from a page view's acknowledgement until the API counts it
    report   a year of page views, the same for both: disk, and time to answer a report of 30 days and of the year

One of the two is under load at a time; wrk makes its requests on the same cores. GoatCounter closes each connection
after a page view, and counts what a visit views of a page once. Go builds it from its module the first time, in some
minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bench.support import goatcounter, our_services
from bench.support.access_logs import AGENTS, SITE_URL, LogProfile, page_views
from bench.support.goatcounter import GoatCounter, NotBuilt
from bench.support.http_load import Client, need_wrk, run_wrk
from bench.support.our_services import LIVEINSIGHT, Services
from bench.support.processes import cpu_seconds, descendants, describe_machine, pss_mb, run
from liveinsight.model.clock import system_clock

LONGEST_WAIT = 900.0
QUIET = 0.15
"""Cores that a server uses at most when it has counted everything."""
AGENT = {"User-Agent": AGENTS[0]}
Server = Services | GoatCounter


class Contender(NamedTuple):
    """One of the two: how it is started and spoken to."""

    name: str
    form: str
    start: Callable[[Path], Server]

    def load_url(self, server: Server) -> str:
        """Where wrk sends page views to."""
        return f"{server.ingest_url}/collect" if isinstance(server, Services) else f"{server.url}/count"


class Rows:
    """The table, row by row."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[str, str]] = {}

    def add(self, row: str, name: str, cell: str) -> None:
        """Note a cell, and say it at once."""
        self._cells.setdefault(row, {})[name] = cell
        print(f"  {name}, {row}: {cell}", file=sys.stderr, flush=True)

    def print(self, names: Sequence[str]) -> None:
        """As Markdown."""
        print(f"\n| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for row, cells in self._cells.items():
            print(f"| {row} | {' | '.join(cells.get(name, '') for name in names)} |")


def main() -> None:
    """Measure both, and print one table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.goatcounter", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each load (default %(default)s)")
    parser.add_argument("--samples", type=int, default=15, help="of freshness (default %(default)s)")
    parser.add_argument("--views", type=int, default=200_000, help="page views of the year (default %(default)s)")
    parser.add_argument(
        "--build", type=Path, default=Path("build/goatcounter"), help="where GoatCounter is built (default %(default)s)"
    )
    options = parser.parse_args()
    need_wrk()
    contenders = [Contender("LiveInsight", "liveinsight", Services)]
    try:
        program = goatcounter.build(options.build.resolve())
        contenders.append(
            Contender(f"GoatCounter {goatcounter.VERSION}", "goatcounter", lambda folder: GoatCounter(program, folder))
        )
    except NotBuilt as error:
        print(f"GoatCounter could not be built, so ours is alone: {error}")
    print(describe_machine())
    rows = Rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        under_load(contenders, folder, options, rows)
        for contender in contenders:
            killed(contender, folder / f"loss-{contender.form}", rows)
        for contender in contenders:
            year(contender, folder / f"year-{contender.form}", options.views, rows)
    rows.print([contender.name for contender in contenders])


def under_load(contenders: Sequence[Contender], folder: Path, options: argparse.Namespace, rows: Rows) -> None:
    """Loads in turn, while all of them run; then freshness."""
    with ExitStack() as stack:
        servers: list[tuple[Contender, Server]] = []
        for contender in contenders:
            server = contender.start(folder / f"load-{contender.form}")
            stack.push(server.__exit__)
            servers.append((contender, server))
            time.sleep(2)
            rows.add("ready after, s", contender.name, f"{server.start_seconds:.1f}")
            rows.add("memory idle, MB", contender.name, f"{pss_mb(server.pid):.0f}")
        for connections in (32, 256):
            for contender, server in servers:
                url = contender.load_url(server)
                load = run_wrk(url, connections=connections, seconds=options.seconds, form=contender.form)
                cell = f"{load.rate:,.0f}/s, {load.p50:.1f} ms, {load.p99:.0f} ms"
                rows.add(
                    f"{connections} connections: acknowledged, p50, p99",
                    contender.name,
                    cell + (f"; {load.bad} failed" if load.bad else ""),
                )
                settle(server)
        for contender, server in servers:
            rows.add("memory after it, MB", contender.name, f"{pss_mb(server.pid):.0f}")
        for contender, server in servers:
            seconds = sorted(freshness(server, options.samples))
            cell = f"{statistics.median(seconds):.2f}, {seconds[-1]:.2f}"
            rows.add("counted in the API after, s: median, longest", contender.name, cell)


def settle(server: Server) -> None:
    """Wait until it has counted what it has acknowledged."""
    give_up_at = time.monotonic() + LONGEST_WAIT
    used = cpu_seconds(server.pid)
    while time.monotonic() < give_up_at:
        # Longer than GoatCounter lets page views gather.
        time.sleep(11 if isinstance(server, GoatCounter) else 3)
        before, used = used, cpu_seconds(server.pid)
        if used - before < QUIET * 3:
            return
    raise SystemExit("it is still counting")


def send_view(server: Server, client: Client, number: int) -> None:
    """One page view of somebody new, until it is acknowledged."""
    if isinstance(server, Services):
        body = our_services.page_view(number, visitor=number)
        client.send("POST", "/collect", body, {**AGENT, "Content-Type": "text/plain"})
    else:
        address = f"62.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        client.send("GET", f"/count?p=/products/{number % 200}&rnd={number}", None, {**AGENT, "X-Real-IP": address})


def counted(server: Server, client: Client) -> int:
    """What its API counts for today and the day before."""
    today = datetime.now(UTC).date()
    if isinstance(server, Services):
        return our_services.pageviews(client, today - timedelta(days=1), today)
    return goatcounter.visitors(client, today - timedelta(days=1), today)


def freshness(server: Server, samples: int) -> list[float]:
    """Seconds from an acknowledgement until the API counts the page view."""
    rng = random.Random(1)
    sender = Client(server.ingest_url if isinstance(server, Services) else server.url)
    reader, seconds = server.client(), []
    for number in range(samples):
        time.sleep(rng.uniform(0, 2))
        before = counted(server, reader)
        send_view(server, sender, 5_000_000 + number)
        began = time.monotonic()
        while counted(server, reader) == before:
            if time.monotonic() - began > LONGEST_WAIT:
                raise SystemExit("a page view was not counted")
            time.sleep(0.02)
        seconds.append(time.monotonic() - began)
    return seconds


def killed(contender: Contender, folder: Path, rows: Rows, views: int = 500) -> None:
    """Acknowledge page views, kill every process, start again, and count."""
    server = contender.start(folder)
    sender = Client(server.ingest_url if isinstance(server, Services) else server.url)
    for number in range(views):
        send_view(server, sender, number)
    for pid in list(descendants(server.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.__exit__()
    with contender.start(folder) as again:
        settle(again)
        found = counted(again, again.client())
    rows.add(f"of {views} acknowledged, lost when killed", contender.name, str(views - found))


def year(contender: Contender, folder: Path, views: int, rows: Rows) -> None:
    """Fill a year, and measure disk and reports."""
    profile = LogProfile(views, 365, system_clock())
    with contender.start(folder) as server:
        before, began = disk(server, folder), time.monotonic()
        if isinstance(server, Services):
            command = [*LIVEINSIGHT, "import-log", "--quiet", "--wait", "--base-url", SITE_URL, "-"]
            run(command, server.environ, lines=(view.line for view in page_views(profile)))
        else:
            expected = server.fill(page_views(profile))
            while server.counted() < expected:
                if time.monotonic() - began > LONGEST_WAIT:
                    raise SystemExit(f"{server.counted():,} of {expected:,} are counted")
                time.sleep(0.5)
        rows.add("a year imported, views a second", contender.name, f"{views / (time.monotonic() - began):,.0f}")
        settle(server)
        today = datetime.now(UTC).date()
        for days in (30, 365):
            first = today - timedelta(days=days - 1)
            seconds = [ask(server, first, today) for _ in range(5)]
            cell = f"{seconds[0] * 1000:,.0f}, {statistics.median(seconds[1:]) * 1000:,.0f}"
            rows.add(f"report of {days} days, ms: first, again", contender.name, cell)
    per_million = {kind: (size - before.get(kind, 0)) / views for kind, size in disk(server, folder).items()}
    cell = ", ".join(f"{kind} {size:,.0f}" for kind, size in per_million.items())
    rows.add("disk for a million page views, MB", contender.name, cell)


def ask(server: Server, first: date, last: date) -> float:
    """Seconds to answer a report, one question after the other."""
    client = server.client()
    questions = (our_services if isinstance(server, Services) else goatcounter).report(first, last)
    began = time.monotonic()
    for question in questions:
        client.get(question)
    return time.monotonic() - began


def disk(server: Server, folder: Path) -> dict[str, int]:
    """Bytes by kind. What ours keeps for some days only is named apart."""
    if isinstance(server, GoatCounter):
        return {"all": server.disk_bytes()}
    kinds = our_services.disk_by_kind(folder)
    days = {"puts": "stream (3 days)", "timelines": "timelines (30 days)", "visitors": "visitors (7 days)"}
    found = {"counters": 0}
    for kind, size in kinds.items():
        name = days.get(kind, "counters")
        found[name] = found.get(name, 0) + size
    return found


if __name__ == "__main__":
    main()
