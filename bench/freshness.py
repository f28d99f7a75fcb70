"""From an event to the API, with everything on this machine, and what an event costs the whole machine.

idle   nothing arrives: CPU time of `liveinsight up --production`
cost   a steady rate of page views, and nobody looks: CPU time an event of all our processes, and of the machine, with
       the client that sends
fresh  the same, while some sites get a page view of their own now and then: the time from its sending until the API
       counts it
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bench.support.access_logs import AGENTS
from bench.support.http_load import Client
from bench.support.our_services import Services, page_view, pageviews
from bench.support.processes import busy_seconds, cpu_seconds, describe_machine, pss_mb

AIM_SECONDS = 1.0
SENDERS = 8
PROBES = 4
POLL_SECONDS = 0.02
LONGEST_WAIT = 60.0
HEADERS = {"User-Agent": AGENTS[0], "Content-Type": "text/plain"}


class Used(NamedTuple):
    """CPU seconds."""

    services: float
    machine: float


def main() -> int:
    """Measure; exit code 1 when the aim is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.freshness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=100, help="events a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of each part (default %(default)s)")
    options = parser.parse_args()
    print(f"{describe_machine()}; {options.rate:g} events/s", flush=True)
    probes = [f"probe{number}" for number in range(PROBES)]
    with tempfile.TemporaryDirectory() as name:
        sites = {"LIVEINSIGHT_SITES": " ".join(["default", *probes])}
        with Services(Path(name) / "data", sites) as services:
            time.sleep(3)
            idle = used(services, options.seconds / 3)
            print(
                f"ready after {services.start_seconds:.1f} s; idle: {pss_mb(services.pid):.0f} MB, "
                f"{idle.services / (options.seconds / 3):.1%} of a core"
            )
            with steady_load(services, options.rate):
                spent = used(services, options.seconds)
                events = options.rate * options.seconds
                print(
                    f"CPU us an event: our processes {spent.services / events * 1e6:,.0f}, the machine with the client "
                    f"{spent.machine / events * 1e6:,.0f}; {pss_mb(services.pid):.0f} MB",
                    flush=True,
                )
                until = time.monotonic() + options.seconds
                with ThreadPoolExecutor(PROBES) as pool:
                    parts = pool.map(lambda site: list(probe(services, site, until)), probes)
                    seconds = sorted(each for part in parts for each in part)
    p50, p95, p99 = (statistics.quantiles(seconds, n=100)[at - 1] for at in (50, 95, 99))
    met = p95 < AIM_SECONDS
    print(
        f"{len(seconds)} page views, seconds from sending to the API: p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f}, "
        f"longest {seconds[-1]:.2f} (aim: p95 under {AIM_SECONDS:g}: {'met' if met else 'missed'})"
    )
    return 0 if met else 1


def used(services: Services, seconds: float) -> Used:
    """CPU time of our processes and of the machine during the next seconds."""
    ours, machine = cpu_seconds(services.pid), busy_seconds()
    time.sleep(seconds)
    return Used(cpu_seconds(services.pid) - ours, busy_seconds() - machine)


@contextmanager
def steady_load(services: Services, rate: float) -> Iterator[None]:
    """Page views at a rate while the block runs.

    Raises:
        SystemExit: they could not be sent that fast.
    """
    stop, sent, began = threading.Event(), [0] * SENDERS, time.monotonic()

    def send(sender: int) -> None:
        client, visitors = Client(services.ingest_url), random.Random(sender)
        while not stop.wait(max(0.0, began + (sender + sent[sender] * SENDERS) / rate - time.monotonic())):
            number = sender + sent[sender] * SENDERS
            client.send("POST", "/collect", page_view(number, visitor=visitors.randrange(2_000)), HEADERS)
            sent[sender] += 1

    with ThreadPoolExecutor(SENDERS) as pool:
        done = [pool.submit(send, sender) for sender in range(SENDERS)]
        try:
            yield
        finally:
            stop.set()
    for one in done:
        one.result()
    if (missing := 1 - sum(sent) / rate / (time.monotonic() - began)) > 0.05:
        raise SystemExit(f"{missing:.0%} of the events could not be sent in time")


def probe(services: Services, site: str, until: float) -> Iterator[float]:
    """Seconds from sending a page view of `site` until the API counts it, one after the other."""
    sender, reader, rng = Client(services.ingest_url), services.client(), random.Random(site)
    today = datetime.now(UTC).date()
    days, counted = (today - timedelta(days=1), today + timedelta(days=1)), 0
    while time.monotonic() < until:
        time.sleep(rng.uniform(0, 0.5))
        began = time.monotonic()
        sender.send("POST", "/collect", page_view(counted, visitor=counted, site=site), HEADERS)
        counted += 1
        while pageviews(reader, *days, site=site) < counted:
            if time.monotonic() - began > LONGEST_WAIT:
                raise SystemExit("a page view was not counted")
            time.sleep(POLL_SECONDS)
        yield time.monotonic() - began


if __name__ == "__main__":
    raise SystemExit(main())
