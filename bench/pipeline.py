"""End to end: an access log is imported, until the worker has stored all of it.

Prints events per second from the start of `liveinsight import-log` until everything is counted, and CPU time per event
of worker and importer. The logs are generated, a busy day and a quiet year, or given: those are sent a number of times,
each time as later days, so that seconds of a command's start and of a flush's cadence do not pass for throughput. The
backend is SQLite, or the local AWS stack. Settings are those of `liveinsight up`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.support.access_logs import SITE_URL, LogProfile, write_log, write_repeated
from bench.support.our_services import DRAIN_SECONDS, LIVEINSIGHT
from bench.support.processes import REPOSITORY, cpu_seconds, describe_machine, pss_mb, run
from liveinsight.bootstrap import initialise
from liveinsight.devstack.child_process import ChildProcess, neutral_environ
from liveinsight.devstack.ministack import MiniStack
from liveinsight.devstack.up import QUICK
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.wiring import open_store

IMPORT = (*LIVEINSIGHT, "import-log", "--quiet", "--base-url", SITE_URL)
LONGEST_WAIT = 900.0


class _Summary(msgspec.Struct):
    """The last line of the worker's log."""

    events: int
    counter_writes: int
    visitor_writes: int


@contextmanager
def backend(kind: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables that name the backend, while it is there."""
    if kind == "sqlite":
        yield {"LIVEINSIGHT_BACKEND": "sqlite"}
        return
    ministack = MiniStack(folder / "state")
    try:
        yield {"LIVEINSIGHT_BACKEND": "aws", "AWS_ENDPOINT_URL": ministack.url}
    finally:
        ministack.stop()


def measure(log: Path, options: list[str], place: Mapping[str, str], folder: Path, name: str) -> None:
    """Import one log into an empty store and print the numbers."""
    environ = {
        **neutral_environ(),
        **QUICK,
        **place,
        "LIVEINSIGHT_DATA_DIR": str(folder / name),
        "LIVEINSIGHT_STREAM": name,
        "LIVEINSIGHT_TABLE_PREFIX": name,
    }
    settings = Settings.from_env(environ)
    initialise(settings)
    store = open_store(settings)

    def stored_up_to() -> int:
        return freshest_possible(store.read_watermarks().rows) or 0

    output = folder / f"{name}.log"
    worker = ChildProcess("worker", [*LIVEINSIGHT, "worker"], environ=environ, log=output, folder=REPOSITORY)
    try:
        worker.wait_until_ready(lambda: stored_up_to() > 0)
        idle, began = cpu_seconds(worker.pid), time.monotonic()
        importer = run([*IMPORT, *options, str(log)], environ)
        sent_at, sending = system_clock(), time.monotonic() - began
        while stored_up_to() <= sent_at:
            if not worker.alive or time.monotonic() - began > LONGEST_WAIT:
                raise SystemExit(f"the worker did not count everything:\n{worker.last_lines}")
            time.sleep(0.02)
        storing = time.monotonic() - began
        cpu, memory = cpu_seconds(worker.pid) - idle, pss_mb(worker.pid)
    finally:
        worker.stop(DRAIN_SECONDS)
    last = next(line for line in reversed(output.read_bytes().splitlines()) if b'"action": "end"' in line)
    summary = msgspec.json.decode(last, type=_Summary)
    events = summary.events
    print(
        f"{log.name} {' '.join(options)}: {events:,} events; sent in {sending:.1f} s, stored in {storing:.1f} s: "
        f"{events / storing:,.0f} events/s end to end; CPU us an event: worker {cpu / events * 1e6:.0f}, importer "
        f"{importer.cpu_seconds / events * 1e6:.0f}; memory: worker {memory:.0f} MB, importer "
        f"{importer.max_rss_mb:.0f} MB; {events / summary.counter_writes:.1f} events a counter write, "
        f"{events / summary.visitor_writes:.1f} a visitor write",
        flush=True,
    )


def main() -> None:
    """Measure the given logs, or generated ones."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("logs", nargs="*", type=Path, help="access logs in the combined format")
    parser.add_argument("--backend", choices=["sqlite", "stand-in"], default="sqlite", help="default %(default)s")
    parser.add_argument("--requests", type=int, default=100_000, help="size of generated logs (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=10, help="times that given logs are sent (default %(default)s)")
    options = parser.parse_args()
    print(f"{describe_machine()}; backend {options.backend}", flush=True)
    generated = {
        "day": LogProfile(options.requests, 1, system_clock(), longest_visit=11),
        "year": LogProfile(options.requests, 365, system_clock()),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with backend(options.backend, folder) as place:
            for kind, profile in {} if options.logs else generated.items():
                log = folder / f"{kind}.log"
                write_log(log, profile)
                measure(log, [], place, folder, f"bench-{kind}")
            for number, given in enumerate(options.logs):
                repeated = folder / given.name
                write_repeated(given, options.repeat, repeated)
                measure(repeated, [], place, folder, f"bench-log{number}")
                measure(repeated, ["--include-static", "--include-bots"], place, folder, f"bench-all{number}")


if __name__ == "__main__":
    main()
