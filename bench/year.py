"""A site of ten million page views a year on one machine: import, disk, start, and what the dashboard asks for.

    import   the page views, spread over a year up to now, through `liveinsight import-log` and the worker
    disk     of the data folder by kind; stream, timelines and visitors' states go by themselves after some days
    start    of `liveinsight up --production` on the full folder, until ingest and API are ready
    answers  each question of the dashboard for today, 7 days, 30 days and 12 months: milliseconds, with the files
             cached by the system, and without (which needs Linux; what the disk caches stays)

With --keep the folder stays, and the next run with the same --keep finds it and leaves the import out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.support.access_logs import SITE_URL, LogProfile, page_views
from bench.support.http_load import Client
from bench.support.our_services import LIVEINSIGHT, Services, disk_by_kind, pageviews, question
from bench.support.processes import cpu_seconds, describe_machine, pss_mb, run
from liveinsight.model.clock import system_clock

PERIODS = {"today": "hour", "7d": "day", "30d": "day", "12mo": "day"}
"""And the chart's interval."""
PANELS = (
    "page", "entry_page", "exit_page", "channel", "source", "utm_campaign",
    "country", "device", "browser", "os", "language", "event",
)  # fmt: skip
LONGEST_STALL = 120.0
SLOW_SECONDS = 3.0
"""A question that takes longer is asked fewer times."""


def main() -> None:
    """Fill, look, ask."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.year", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--views", type=int, default=10_000_000, help="page views (default %(default)s)")
    parser.add_argument("--pages", type=int, default=2_000, help="pages of the site (default %(default)s)")
    parser.add_argument("--times", type=int, default=20, help="times that each question is asked (default %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder to keep, and to use again")
    options = parser.parse_args()
    print(f"{describe_machine()}; {options.views:,} page views, {options.pages:,} pages", flush=True)
    with _folder(options.keep) as folder:
        if not (folder / "data" / "store.db").exists():
            fill(folder / "data", options.views, options.pages)
        kinds = disk_by_kind(folder / "data")
        total = sum(kinds.values())
        print(f"disk: {total / 1e6:,.0f} MB, {total / options.views:,.0f} bytes a page view")
        for kind, size in sorted(kinds.items(), key=lambda entry: -entry[1]):
            if size > total / 1000:
                print(f"  {kind:12} {size / 1e6:>9,.1f} MB")
        with Services(folder / "data") as services:
            time.sleep(3)
            print(f"ready after {services.start_seconds:.1f} s; {pss_mb(services.pid):.0f} MB", flush=True)
            ask_all(services, folder / "data", options.times)
            print(f"afterwards {pss_mb(services.pid):.0f} MB")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def fill(data: Path, views: int, pages: int) -> None:
    """Import the page views, until the worker has counted all of them."""
    profile = LogProfile(views, 365, system_clock(), pages=pages)
    with Services(data) as services:
        before, began = cpu_seconds(services.pid), time.monotonic()
        # The import waits at most some minutes for the worker, which may take longer.
        command = [*LIVEINSIGHT, "import-log", "--quiet", "--base-url", SITE_URL, "-"]
        importer = run(command, services.environ, lines=(view.line for view in page_views(profile)))
        sent = time.monotonic() - began
        wait_until_counted(services.client(), views)
        took = time.monotonic() - began
        cpu = cpu_seconds(services.pid) - before
        memory = pss_mb(services.pid)
        print(f"sent in {sent:,.0f} s, counted in {took:,.0f} s: {views / took:,.0f} page views a second")
        print(
            f"CPU us an event: services {cpu / views * 1e6:.0f}, importer {importer.cpu_seconds / views * 1e6:.0f}; "
            f"memory: services {memory:.0f} MB, importer {importer.max_rss_mb:.0f} MB",
            flush=True,
        )


def wait_until_counted(client: Client, views: int) -> None:
    """Until the API counts so many page views.

    Raises:
        SystemExit: for some time there are none more.
    """
    last, seen, since = datetime.now(UTC).date(), -1, time.monotonic()
    while (found := pageviews(client, last - timedelta(days=365), last)) < views:
        if found > seen:
            seen, since = found, time.monotonic()
        elif time.monotonic() - since > LONGEST_STALL:
            raise SystemExit(f"{found:,} of {views:,} page views are counted, and no more come")
        time.sleep(1)


def questions() -> Iterator[tuple[str, str, str]]:
    """What the dashboard asks: name, period, path."""
    for period, interval in PERIODS.items():
        yield "totals", period, question("totals", period=period, compare="previous")
        yield "timeseries", period, question("timeseries", period=period, interval=interval)
        for panel in PANELS:
            yield f"breakdown {panel}", period, question("breakdown", dimension=panel, period=period, limit=10)
    yield "live", "now", question("live", minutes=5, by="page")
    yield "sessions", "now", question("sessions", limit=20)


def ask_all(services: Services, data: Path, times: int) -> None:
    """Ask every question, and print its times and those of each period together."""
    client = services.client()
    of_period: dict[tuple[str, bool], list[float]] = {}
    print(f"{'question':24} {'period':6} {'items':>8} {'p50 ms':>9} {'p99 ms':>9} {'cold p50':>9}")
    for name, period, path in questions():
        cold = ask(client, path, max(3, times // 5), data)
        warm = ask(client, path, times, None)
        of_period.setdefault((period, False), []).extend(warm)
        of_period.setdefault((period, True), []).extend(cold)
        answer = client.get(path)
        items = answer["meta"]["items_read"] if isinstance(answer, dict) else 0
        print(
            f"{name:24} {period:6} {items:>8,} {statistics.median(warm):>9.1f} {percentile(warm, 99):>9.1f} "
            f"{statistics.median(cold):>9.1f}",
            flush=True,
        )
    for (period, cold_files), times_ms in of_period.items():
        print(
            f"{period}, {'not cached' if cold_files else 'cached'}: p50 {statistics.median(times_ms):.0f} ms, p99 "
            f"{percentile(times_ms, 99):.0f} ms"
        )


def ask(client: Client, path: str, times: int, uncached: Path | None) -> list[float]:
    """Milliseconds of each answer. With `uncached`, the system forgets that folder's files before each."""
    found: list[float] = []
    spent = 0.0
    while len(found) < times and (spent < SLOW_SECONDS or len(found) < 3):
        if uncached:
            forget(uncached)
        began = time.monotonic()
        client.get(path)
        took = time.monotonic() - began
        spent += took
        found.append(took * 1000)
    return found


def forget(folder: Path) -> None:
    """Drop the folder's files from the system's cache."""
    for path in folder.glob("*.db*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def percentile(values: list[float], percent: int) -> float:
    """By rank."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


if __name__ == "__main__":
    main()
