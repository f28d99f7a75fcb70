"""Events per second and core of the processor, step by step, and of other ways to do the same job.

    decode    records to events
    fold      and what each event adds to counters
    requests  and gathered, flushed, handed to a store that keeps nothing: the whole of `RecordProcessor`
    encoded   and every item encoded, every statement built
    client    and every call serialised and signed by boto3, answered from memory: all but the network
    least     what is stored alone asks for, with nothing decided, kept or checked (see `bench.support.steps`)
    bare      the fold, its sums and the visitors' writes, with all else left out (see there)

A rate of 0 is a shard that catches up: the worker reads as fast as it can, and flushes fall due in CPU time.

Beside it, in the same run: the floor (decode, add to one dict), pandas and bytewax (see `bench.support.rivals`).
Times are CPU time of the process, the best of a few runs; at other rates, flushes fall due in event time.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import importlib.metadata
import logging
import pstats
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from bench.support import rivals
from bench.support.null_store import InstantStore, NoCheckpoints, Visitors, canned_dynamo, instant_dynamo
from bench.support.processes import describe_machine
from bench.support.steps import bare, decode, fold_into, least
from bench.support.traffic import INCARNATION, POLL_MS, SHARD, VISIT_MS, Poll, Profile, take, traffic
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.model.clock import Clock
from liveinsight.storage.store import ProcessorStore, VisitorKey
from liveinsight.testing.builders import FakeClock
from processor.embedded.shard_threads import READ_LIMIT
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

AN_HOUR_MS = 3_600_000
CATCHING_UP = 1_000
"""Events a second at which the records were made that a worker catches up with."""
AIM = 40_000
"""Events a second and core, flushed and encoded."""
AIM_OF_FLOOR = 4.0
OURS = ("decode", "fold", "least", "bare", "requests", "encoded", "client")
OTHERS = ("floor", "pandas", "pandas, live", "bytewax")

SLOW = ("client", "pandas, live")
"""Run once."""
STORES: dict[str, Callable[[Visitors], ProcessorStore]] = {
    "requests": InstantStore,
    "encoded": instant_dynamo,
    "client": canned_dynamo,
}


def keep_up(polls: Sequence[Poll], processor: RecordProcessor, clock: FakeClock) -> None:
    """What the worker does with a shard whose records it reads as they come."""
    checkpointer = NoCheckpoints()
    for poll in polls:
        clock.now = poll.at
        processor.process_records(poll.records, checkpointer, 0)
    processor.shutdown_requested(checkpointer)


def catch_up(polls: Sequence[Poll], processor: RecordProcessor) -> None:
    """What the worker does with a shard that has waited for it: full reads, one after the other."""
    checkpointer = NoCheckpoints()
    records = [record for poll in polls for record in poll.records]
    for start in range(0, len(records), READ_LIMIT):
        processor.process_records(records[start : start + READ_LIMIT], checkpointer, AN_HOUR_MS)
    processor.shutdown_requested(checkpointer)


class Workload(NamedTuple):
    """What is processed, and how."""

    rate: int
    """Events a second; 0 means catching up."""
    visitors: Visitors
    """Who is on the site when it begins."""
    polls: list[Poll]
    options: ProcessorOptions
    collect_every: int
    """First threshold of the garbage collector; 0 leaves it as Python sets it."""


def workload(rate: int, pages: int, events: int, options: ProcessorOptions, collect_every: int = 0) -> Workload:
    """Steady traffic: the visits of the minutes before are under way."""
    pace = rate or CATCHING_UP
    # Who comes back within minutes is rare: as many visitors as there are events in an hour.
    polls = traffic(Profile(rate=pace, pages=pages, visitors=3_600 * pace))
    warm = InstantStore({})
    # The real processor leaves the states as they are in the middle of visits, with the timelines' tails in them.
    catch_up(list(islice(polls, VISIT_MS // POLL_MS)), _processor(warm, options, _cpu_clock))
    visitors = warm.visitors
    return Workload(rate, visitors, take(polls, events), options, collect_every)


def step(name: str, work: Workload) -> Callable[[], object]:
    """One thing to measure, ready to run."""
    polls, options = work.polls, work.options
    match name:
        case "floor":
            return partial(rivals.floor, polls)
        case "decode":
            return partial(decode, polls)
        case "fold":
            return partial(fold_into, _states(work), polls)
        case "least":
            return partial(least, _states(work), instant_dynamo(work.visitors), polls)
        case "bare":
            return partial(bare, _states(work), instant_dynamo(work.visitors), polls)
        case "pandas":
            return partial(rivals.pandas_whole, polls)
        case "pandas, live":
            return partial(rivals.pandas_batches, polls, round(options.counters_interval * 1000 / POLL_MS))
        case "bytewax":
            return partial(rivals.bytewax, polls)
    clock = FakeClock(polls[0].at)
    now = clock if work.rate else _cpu_clock
    processor = _processor(STORES[name](work.visitors), options, now)
    # A worker that has run for a while has them in memory; reading them all is no part of the steady state.
    known = list(work.visitors)
    for start in range(0, len(known), READ_LIMIT):
        processor._visitors.load(known[start : start + READ_LIMIT])
    processor._visitors.flush()
    return partial(keep_up, polls, processor, clock) if work.rate else partial(catch_up, polls, processor)


def _states(work: Workload) -> dict[VisitorKey, VisitorState]:
    return {key: decode_visitor(state) for key, state in work.visitors.items()}


def _processor(store: ProcessorStore, options: ProcessorOptions, clock: Clock) -> RecordProcessor:
    processor = RecordProcessor(store, INCARNATION, options, clock)
    processor.initialize(SHARD, "")
    return processor


def speed(name: str, work: Workload, repeat: int) -> float:
    """Events per second of CPU time."""
    best = float("inf")
    for _ in range(1 if name in SLOW else repeat):
        run = step(name, work)
        _prepare_collector(work.collect_every)
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return sum(len(poll.records) for poll in work.polls) / best


def _prepare_collector(collect_every: int) -> None:
    gc.unfreeze()
    gc.collect()
    if collect_every:
        gc.freeze()
        gc.set_threshold(collect_every, 20, 50)


def profile_of(work: Workload) -> None:
    """Print where the encoded step spends its time."""
    run = step("encoded", work)
    profiler = cProfile.Profile()
    profiler.runcall(run)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _cpu_clock() -> int:
    return time.process_time_ns() // 1_000_000


# Long: options, then one line a run.
def main() -> None:
    """Measure, print a table, and say whether the aims are met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.processor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--events",
        type=int,
        default=0,
        help="events of each run (default: what comes between two full flushes, at least 20000; catching up 60000)",
    )
    parser.add_argument(
        "--rates", type=_numbers, default=[0, 200, 1000], help="events a second; 0: catching up (default 0,200,1000)"
    )
    parser.add_argument("--pages", type=_numbers, default=[1, 100, 10_000], help="pages (default 1,100,10000)")
    parser.add_argument("--counters-interval", type=float, default=1.0, help="seconds of event time (default 1)")
    parser.add_argument("--previews-interval", type=float, default=5.0, help="seconds of event time (default 5)")
    parser.add_argument("--sessions-interval", type=float, default=60.0, help="seconds of event time (default 60)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each step, of which the best counts (default 2)")
    parser.add_argument("--only", default="", help="steps to run, by comma; the floor is always run")
    parser.add_argument(
        "--gc-threshold",
        type=int,
        default=0,
        help="what gc.set_threshold is given first, after gc.freeze() (default 0: neither, as Python has it)",
    )
    parser.add_argument("--profile", action="store_true", help="print cProfile's top 25 of `encoded` instead")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    cadence = ProcessorOptions(
        counters_interval=options.counters_interval,
        previews_interval=options.previews_interval,
        sessions_interval=options.sessions_interval,
    )
    print(
        f"{describe_machine()}; counters every {cadence.counters_interval:g} s, previews every "
        f"{cadence.previews_interval:g} s, sessions every "
        f"{cadence.sessions_interval:g} s of event time; 6 events a visit; thousands of events per second of CPU time, "
        f"best of {options.repeat}; garbage collector "
        + (f"frozen, threshold {options.gc_threshold:,}" if options.gc_threshold else "as Python sets it")
    )
    wanted = options.only.split(",") if options.only else [*OURS, *OTHERS]
    names = [name for name in (*OURS, *OTHERS) if name in wanted or name == "floor"]
    if not options.profile:
        print(f"pandas {_version('pandas')}, bytewax {_version('bytewax')}")
        print(f"{'rate':>6}{'pages':>8}" + "".join(f"{name:>14}" for name in names) + f"{'floor/encoded':>15}")
    for rate in options.rates:
        for pages in options.pages:
            events = options.events or max(20_000, round((rate or CATCHING_UP) * cadence.sessions_interval))
            work = workload(rate, pages, events, cadence, options.gc_threshold)
            if options.profile:
                print(f"\n{rate} events/s, {pages} pages")
                profile_of(work)
            else:
                _print_row(rate, pages, names, _measured(names, work, options.repeat))


def _measured(names: list[str], work: Workload, repeat: int) -> dict[str, float]:
    results = {}
    for name in names:
        try:
            results[name] = speed(name, work, repeat)
        except ImportError as error:
            print(f"{name} left out: {error}")
    return results


def _print_row(rate: int, pages: int, names: list[str], results: dict[str, float]) -> None:
    cells = "".join(f"{results[name] / 1000:>14.1f}" if name in results else f"{'-':>14}" for name in names)
    verdict = ""
    if encoded := results.get("encoded"):
        ratio = results["floor"] / encoded
        misses = [
            *([f"under {AIM:,}/s"] if encoded < AIM else []),
            *([f"over {AIM_OF_FLOOR:g}x the floor"] if ratio > AIM_OF_FLOOR else []),
        ]
        verdict = f"{ratio:>14.1f}x  {'misses: ' + ', '.join(misses) if misses else 'meets both aims'}"
    print(f"{rate:>6}{pages:>8}{cells}{verdict}", flush=True)


if __name__ == "__main__":
    main()
