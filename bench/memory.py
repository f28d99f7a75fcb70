"""Resident memory of a worker with many visitors under way, and whether it grows while traffic goes on.

    fill   visitors arrive until `--visitors` are held, at the rate at which so many are active within the session gap
           of half an hour: visits of six events in three minutes, 300 events a second; then RSS is told
    soak   steady traffic, visitors drawn anew from ten times as many: who comes pushes somebody out of the caches.
           RSS every ten seconds, at the end its slope over the second half

Another process makes the traffic, as its memory is not the worker's. The real `RecordProcessor`, one per shard as in
the worker, runs on `InstantStore`; beside it are the worker's own AWS clients, which it does not use here. Event time
passes as fast as the machine allows, or with `--real-time` as it does outside.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import linear_regression
from typing import Any

import msgspec

from bench.support.null_store import InstantStore, NoCheckpoints
from bench.support.processes import describe_machine
from bench.support.traffic import INCARNATION, POLL_MS, Poll, Profile, traffic
from liveinsight.counting.sessions import decode_visitor
from liveinsight.runtime.gc_tuning import tune_for_records
from liveinsight.settings import Settings
from liveinsight.storage.store import VisitorWrite, Written
from liveinsight.testing.builders import FakeClock
from liveinsight.wiring import open_store, open_stream
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

AIM_MB = 300
EVERY_SECONDS = 10.0


class Forgetful(InstantStore):
    """Keeps nothing: what is stored is not the worker's memory."""

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        return Written()


def rss_mb() -> float:
    """Resident memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@dataclass
class Shard:
    """One shard's processor and what it reads."""

    processor: RecordProcessor
    polls: Iterator[Poll]
    events: int = 0

    def read(self, clock: FakeClock) -> None:
        """The next poll."""
        poll = next(self.polls)
        clock.now = poll.at
        self.processor.process_records(poll.records, NoCheckpoints(), 0)
        self.events += len(poll.records)

    def kept(self) -> dict[str, int]:
        """Entries of the caches: what memory is spent on."""
        visitors: Any = self.processor._visitors
        counters: Any = self.processor._counters
        return {
            "visitors": len(visitors._stored) + len(visitors._unwritten) + len(visitors._states),
            "counters": len(counters._stored),
        }


def made_elsewhere(profile: Profile) -> Iterator[Poll]:
    """The traffic of another process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    context.Process(target=_make, args=(profile, theirs), daemon=True).start()
    while True:
        yield from ours.recv()


def _make(profile: Profile, pipe: Connection) -> None:
    polls = traffic(profile)
    # The reader is gone when the benchmark is over.
    with suppress(BrokenPipeError, KeyboardInterrupt):
        while True:
            pipe.send(list(islice(polls, 4)))


def shards_of(count: int, rate: float, pages: int, visitors: int, clock: FakeClock) -> list[Shard]:
    """Shards that share the traffic evenly."""
    shards = []
    for number in range(count):
        processor = RecordProcessor(Forgetful({}), INCARNATION, ProcessorOptions(), clock)
        processor.initialize(f"shardId-{number:012d}", "")
        profile = Profile(rate=rate / count, pages=pages, visitors=visitors // count, begins_at=clock.now, seed=number)
        shards.append(Shard(processor, made_elsewhere(profile)))
    return shards


def _kept(shards: list[Shard], what: str) -> int:
    return sum(shard.kept()[what] for shard in shards)


def fill(shards: list[Shard], clock: FakeClock, visitors: int, longest: float) -> None:
    """Read until so many are held, or the caches take no more, or time is up."""
    give_up_at = time.monotonic() + longest
    while _kept(shards, "visitors") < visitors and time.monotonic() < give_up_at:
        for shard in shards:
            shard.read(clock)


def soak(shards: list[Shard], clock: FakeClock, minutes: float, *, real_time: bool) -> list[tuple[float, float]]:
    """Read on; returns RSS by seconds since the beginning."""
    began = reported = time.monotonic()
    points: list[tuple[float, float]] = []
    print(f"{'seconds':>9}{'events':>12}{'RSS MB':>9}{'visitors':>10}{'counters':>10}")
    while (now := time.monotonic()) - began < minutes * 60:
        for shard in shards:
            shard.read(clock)
        if real_time:
            time.sleep(max(0.0, POLL_MS / 1000 - (time.monotonic() - now)))
        if now - reported >= EVERY_SECONDS or not points:
            reported = now
            points.append((now - began, rss_mb()))
            events = sum(shard.events for shard in shards)
            print(
                f"{now - began:>9.0f}{events:>12,}{points[-1][1]:>9.1f}{_kept(shards, 'visitors'):>10,}"
                f"{_kept(shards, 'counters'):>10,}",
                flush=True,
            )
    return points


def print_largest(shards: list[Shard], before: float) -> None:
    """What an entry of each cache takes, by what is given back when the cache is emptied."""
    processors: list[Any] = [shard.processor for shard in shards]
    for what, size in (("visitors", _kept(shards, "visitors")), ("counters", _kept(shards, "counters"))):
        total = sum(deep_size(vars(p._visitors if what == "visitors" else p._counters._stored)) for p in processors)
        print(f"  {what}: {size:,} entries, {total / 2**20:.0f} MB, {total / max(1, size):,.0f} bytes each")
    print(f"  before the first event: {before:.0f} MB (interpreter, libraries, AWS clients)")


def print_fields(shards: list[Shard], sample: int = 5_000) -> None:
    """What a visitor's state is made of; what states share is counted for each."""
    processors: list[Any] = [shard.processor for shard in shards]
    states = [decode_visitor(s) for s in islice((s for p in processors for s in p._visitors._stored.values()), sample)]
    sizes: Counter[str] = Counter()
    for state in states:
        sizes.update({name: deep_size(getattr(state, name)) for name in state.__struct_fields__ if name != "sessions"})
        for visit in state.sessions:
            sizes.update({f"visit {name}": deep_size(getattr(visit, name)) for name in visit.__struct_fields__})
    parts = ", ".join(f"{name} {size / len(states):.0f}" for name, size in sizes.most_common(9))
    print(f"  bytes of a visitor by field: {parts}")


def deep_size(root: Any) -> int:
    """Bytes of an object and of what only Python can follow from it; sketches by their serialised size."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or thing is None or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if isinstance(thing, msgspec.Raw):
            # Its own answer to `sys.getsizeof` is wrong; the buffer that it looks into is counted for it alone.
            total += len(bytes(thing))
            continue
        total += sys.getsizeof(thing)
        if isinstance(thing, dict):
            waiting.extend(thing.keys())
            waiting.extend(thing.values())
        elif isinstance(thing, list | tuple | set | frozenset):
            waiting.extend(thing)
        elif hasattr(thing, "serialize"):
            total += len(thing.serialize())
        elif hasattr(thing, "__struct_fields__"):
            waiting.extend(getattr(thing, name) for name in thing.__struct_fields__)
        elif hasattr(thing, "__slots__"):
            waiting.extend(getattr(thing, name) for name in thing.__slots__)
    return total


def main() -> None:
    """Fill, soak, tell."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=100_000, help="active at once (default 100000)")
    parser.add_argument("--shards", type=int, default=2, help="shards of this worker (default 2)")
    parser.add_argument("--pages", type=int, default=5_000, help="pages of the site (default 5000)")
    parser.add_argument("--minutes", type=float, default=2, help="minutes of soak; 0 leaves it out (default 2)")
    parser.add_argument("--real-time", action="store_true", help="soak at the pace of the clock")
    parser.add_argument("--rate", type=float, default=300, help="events a second of event time (default 300)")
    parser.add_argument("--trace", action="store_true", help="print tracemalloc's top 10 at the end (slow)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"{describe_machine()}; {options.shards} shards, {options.pages:,} pages, {options.rate:g} events/s")
    if options.trace:
        tracemalloc.start()
    settings = Settings.from_env({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"})
    clients = open_stream(settings), open_store(settings)
    tune_for_records()
    before = rss_mb()
    clock = FakeClock()
    shards = shards_of(options.shards, options.rate, options.pages, 10 * options.visitors, clock)
    fill(shards, clock, options.visitors, longest=300)
    gc.collect()
    filled = rss_mb()
    print(
        f"{_kept(shards, 'visitors'):,} visitors held after {sum(s.events for s in shards):,} events: RSS "
        f"{filled:.0f} MB (aim: under {AIM_MB} MB at 100,000: {'met' if filled < AIM_MB else 'missed'})"
    )
    print_largest(shards, before)
    print_fields(shards)
    if options.minutes:
        points = soak(shards, clock, options.minutes, real_time=options.real_time)
        half = points[len(points) // 2 :]
        if len(half) > 1:
            slope = linear_regression([at / 60 for at, _ in half], [mb for _, mb in half]).slope
            print(f"slope over the second half: {slope:+.2f} MB a minute; peak {max(mb for _, mb in points):.0f} MB")
        print_largest(shards, before)
    if options.trace:
        for statistic in tracemalloc.take_snapshot().statistics("lineno")[:10]:
            print(f"  {statistic}")
    del clients


if __name__ == "__main__":
    main()
