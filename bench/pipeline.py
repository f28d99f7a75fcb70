"""End to end on the local AWS stack: an access log is imported, until the worker has stored all of it.

Prints events per second and the worker's own CPU time per event, for a generated log of a busy site and for logs that
are given: those are sent a number of times, each time as later days, so that seconds of a command's start and of a
flush's cadence do not pass for throughput. Settings are those of `liveinsight up`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from liveinsight.bootstrap import initialise
from liveinsight.devstack.ministack import MiniStack
from liveinsight.devstack.up import QUICK
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.wiring import open_store

DAY = re.compile(r"\[\d\d/\w{3}/\d{4}:")
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
)


def write_log(path: Path, requests: int) -> None:
    """A busy site's day: visits of one to eleven views some seconds apart, pages by Zipf's law."""
    rng = random.Random(1)
    lines: list[tuple[float, str]] = []
    while len(lines) < requests:
        visitor = rng.randrange(requests // 8)
        at = rng.uniform(0, 86_000)
        agent = f"{AGENTS[visitor % 2]} v{visitor // 62_500}"
        address = f"198.51.{visitor // 250 % 250}.{visitor % 250}"
        for _ in range(rng.randint(1, 11)):
            page = int(rng.paretovariate(0.8)) % 500
            moment = time.strftime("%d/May/2015:%H:%M:%S", time.gmtime(1_431_820_800 + at))
            line = f'{address} - - [{moment} +0000] "GET /page/{page} HTTP/1.1" 200 5 "-" "{agent}"\n'
            lines.append((at, line))
            at += rng.uniform(5, 60)
    path.write_text("".join(line for _, line in sorted(lines)[:requests]), encoding="utf-8")


def write_repeated(log: Path, times: int, path: Path) -> None:
    """The lines of `log` several times over, each time as the days after those before."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    days = sorted({match[0] for line in lines if (match := DAY.search(line))}, key=_day)
    length = (_day(days[-1]) - _day(days[0])).days + 1
    with path.open("w", encoding="utf-8") as file:
        for turn in range(times):
            moved = {day: f"[{_day(day) + timedelta(days=turn * length):%d/%b/%Y}:" for day in days}
            for line in lines:
                # Other people each time: a visitor is an address and a browser.
                later = DAY.sub(lambda match: moved[match[0]], line, count=1)  # noqa: B023
                file.write(re.sub(r'"$', f' r{turn}"', later))


def _day(text: str) -> datetime:
    return datetime.strptime(text + "+0000", "[%d/%b/%Y:%z")


def measure(log: Path, options: list[str], ministack: MiniStack, name: str) -> None:
    """Import one log on fresh tables and print the numbers."""
    environ = {
        **QUICK,
        **{key: value for key, value in os.environ.items() if not key.startswith(("LIVEINSIGHT_", "AWS_"))},
        "AWS_ENDPOINT_URL": ministack.url,
        "LIVEINSIGHT_STREAM": name,
        "LIVEINSIGHT_TABLE_PREFIX": name,
    }
    settings = Settings.from_env(environ)
    initialise(settings)
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "liveinsight"]
        worker = subprocess.Popen([*command, "worker"], env=environ, stderr=output)
        store = open_store(settings)
        while freshest_possible(store.read_watermarks().rows) is None:
            time.sleep(0.05)
        idle_cpu = _cpu_seconds(worker.pid)
        began = time.monotonic()
        subprocess.run(
            [*command, "import-log", "--quiet", *options, str(log)], env=environ, check=True, stderr=subprocess.DEVNULL
        )
        sent_at = system_clock()
        sending = time.monotonic() - began
        while (freshest_possible(store.read_watermarks().rows) or 0) <= sent_at:
            time.sleep(0.02)
        storing = time.monotonic() - began
        cpu = _cpu_seconds(worker.pid) - idle_cpu
        worker.send_signal(signal.SIGTERM)
        worker.wait()
        output.seek(0)
        summary = next(line for line in map(json.loads, output) if line.get("action") == "end")
    events = summary["events"]
    print(
        f"{log.name} {' '.join(options)}: {events:,} events; sent in {sending:.1f} s, stored in {storing:.1f} s: "
        f"{events / storing:,.0f} events/s end to end; worker {cpu / events * 1e6:.0f} us CPU per event, "
        f"RSS {summary['max_rss_kb'] / 1024:.0f} MB; "
        f"{events / summary['counter_writes']:.1f} events per counter write, "
        f"{events / summary['visitor_writes']:.1f} per visitor write",
        flush=True,
    )


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure the given logs, or a generated one."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("logs", nargs="*", type=Path, help="access logs in the combined format")
    parser.add_argument("--requests", type=int, default=50_000, help="size of the generated log (default 50000)")
    parser.add_argument("--repeat", type=int, default=10, help="times that given logs are sent (default 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ministack = MiniStack(Path(folder) / "state")
        try:
            generated = Path(folder) / "generated.log"
            write_log(generated, options.requests)
            measure(generated, [], ministack, "bench-generated")
            for number, log in enumerate(options.logs):
                repeated = Path(folder) / log.name
                write_repeated(log, options.repeat, repeated)
                measure(repeated, [], ministack, f"bench-log{number}")
                measure(repeated, ["--include-static", "--include-bots"], ministack, f"bench-all{number}")
        finally:
            ministack.stop()


if __name__ == "__main__":
    main()
