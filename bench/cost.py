"""What a shard's traffic costs in DynamoDB: request units and dollars, by kind of item, from real item sizes.

The real processor and the real store run in simulated time on `bench.support.metering`, which knows the prices' rules.
Traffic is that of `bench.support.traffic`: 5,000 pages by Zipf's law, visits of six events in three minutes. Items are
as large as they are in the middle of a day: after a warm-up the counters are aged (`aged`), a fresh worker takes
over, and only what it does in a steady state is counted.

Not counted: Kinesis, reads by the API, storage. Expiry is free.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from bench.support.cost_variants import VARIANTS, Variant
from bench.support.metering import LIVE_LIST, Charge, Metering, kind_of, size_of
from bench.support.processes import describe_machine
from bench.support.traffic import INCARNATION, POLL_MS, SHARD, Poll, Profile, traffic
from liveinsight.aws.dynamodb import Dynamo
from liveinsight.counting.counters import CounterItem, decode_counter, encode_counter
from liveinsight.model.events import decode_record
from liveinsight.storage.store import Checkpoint
from liveinsight.testing.builders import FakeClock
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

PRICES_OF = "on demand, us-east-1, since November 2024"
DOLLARS_PER_MILLION_WRITES = 0.625
DOLLARS_PER_MILLION_READS = 0.125

CADENCES = {"fast": ProcessorOptions(counters_interval=1, previews_interval=5, sessions_interval=60),
            "slow": ProcessorOptions(counters_interval=5, previews_interval=60, sessions_interval=60),
            "written": ProcessorOptions(counters_interval=1, previews_interval=60, sessions_interval=5)}  # fmt: skip
AIMS = {(200, "fast"): 0.90, (200, "slow"): 0.60}
"""Dollars per million events with the live list, by rate and cadence."""
MINUTES = {1: 60, 20: 30, 200: 12, 1000: 3}
"""Measured, by rate; others get what gives 150,000 events."""
WARM_MINUTES = 4
TAKE_OVER_MINUTES = 2
"""In which a fresh worker reads what it needs."""
DAY_FRACTION = 0.5


class Result(NamedTuple):
    """A run's bill."""

    events: int
    bill: dict[str, Charge]

    def dollars(self, *leave_out: str) -> float:
        """Per million events."""
        return sum(self.dollars_of(kind) for kind in self.bill if kind not in leave_out)

    def dollars_of(self, kind: str) -> float:
        """One kind's part, per million events."""
        charge = self.bill[kind]
        cost = charge.write_units * DOLLARS_PER_MILLION_WRITES + charge.read_units * DOLLARS_PER_MILLION_READS
        return cost / self.events

    def units(self) -> tuple[float, float]:
        """Write and read units per 1,000 events."""
        charges = self.bill.values()
        writes, reads = sum(c.write_units for c in charges), sum(c.read_units for c in charges)
        return writes / self.events * 1000, reads / self.events * 1000


@dataclass
class _Checkpointer:
    store: Any

    def checkpoint(self, sequence_number: str) -> None:
        self.store.write_checkpoint(SHARD, Checkpoint(INCARNATION, sequence_number))


def run(rate: int, options: ProcessorOptions, variant: Variant, minutes: float) -> Result:
    """Warm up, age, take over, measure."""
    # Three visits of four are by somebody who was not there today; the others draw from the same people.
    visitors = max(2_000, round(rate / 6 * 86_400 * DAY_FRACTION * 0.75))
    metering = variant.metering()
    if variant.sessions_interval:
        options = replace(options, sessions_interval=variant.sessions_interval)
    client: Any = metering
    store = variant.store(Dynamo(client, parallel=1))
    clock = FakeClock()
    polls = traffic(Profile(rate=rate, visitors=visitors, begins_at=clock.now))

    def worker() -> RecordProcessor:
        return RecordProcessor(store, INCARNATION, options, clock)

    _drive(worker(), metering, store, clock, polls, WARM_MINUTES)
    elapsed = WARM_MINUTES * 60
    aged(metering, 86_400 * DAY_FRACTION / elapsed, random.Random(2))
    count = _drive(worker(), metering, store, clock, polls, TAKE_OVER_MINUTES, minutes)
    return Result(count, dict(metering.bill))


def _drive(
    processor: RecordProcessor, metering: Metering, store: Any, clock: FakeClock, polls: Iterator[Poll], *phases: float
) -> int:
    """One worker's life, in phases of minutes; the bill holds the last phase alone. Returns its events."""
    processor.initialize(SHARD, "")
    checkpointer = _Checkpointer(store)
    events = 0
    for minutes in phases:
        metering.bill.clear()
        events = 0
        for poll in islice(polls, round(minutes * 60_000 / POLL_MS)):
            clock.now = poll.at
            events += len(poll.records)
            processor.process_records(poll.records, checkpointer, 0)
    if len(phases) == 1:
        processor.shutdown_requested(checkpointer)
    return events


def aged(metering: Metering, factor: float, rng: random.Random) -> None:
    """Let the day's counters hold what they would after `factor` times the warm-up, distinct visitors included."""
    for name, item in metering.items.items():
        if not kind_of(*name).startswith("dimension"):
            continue
        counter = decode_counter(item["b"]["B"], item["m"]["S"])
        embedded = {other: _aged(it, factor, rng) for other, it in counter.embedded.items()}
        item["b"] = {"B": encode_counter(replace(_aged(counter, factor, rng), embedded=embedded))}


def _aged(counter: CounterItem, factor: float, rng: random.Random) -> CounterItem:
    if counter.sketch is not None:
        # Beyond 30,000 a sketch does not grow.
        for _ in range(min(30_000, round(counter.visitors * (factor - 1)))):
            counter.sketch.update(rng.getrandbits(62))
    measures = {measure: round(amount * factor) for measure, amount in counter.measures.items()}
    hours = {hour: round(sum(counter.hours.values()) * factor / 12) for hour in range(12)} if counter.hours else {}
    return CounterItem(measures, hours, counter.sketch, counter.mark)


def naive_dollars(rate: int) -> tuple[float, float]:
    """The naive design: each event is put as an item, and a total, a page and a session are updated for it.

    Returns:
        Dollars per million events, without and with an index of sessions by time of last activity.
    """
    (record,) = next(poll for poll in traffic(Profile(rate=rate)) if len(poll.records) == 1).records
    (event,) = decode_record(record.data)
    as_item = {}
    for name, value in msgspec.structs.asdict(event).items():
        if isinstance(value, bool | int):
            as_item[name] = {"N": str(int(value))}
        elif value:
            as_item[name] = {"S": str(value)}
    put = max(1, -(-size_of(as_item) // 1024))
    plain = (put + 3) * DOLLARS_PER_MILLION_WRITES
    return plain, plain + 2 * DOLLARS_PER_MILLION_WRITES


def print_table(results: dict[tuple[int, str], Result]) -> None:
    """One line per rate and cadence."""
    print(
        f"{'rate':>6}{'cadence':>9}{'writes':>9}{'reads':>8}{'counters':>10}{'visitors':>10}{'timeline':>10}"
        f"{'live list':>11}{'rest':>7}{'total':>8}{'no list':>9}{'no list, no timeline':>22}"
    )
    for (rate, cadence), result in results.items():
        writes, reads = result.units()
        counters = sum(
            result.dollars_of(kind) for kind in result.bill if kind in COUNTERS or kind.startswith("dimension")
        )
        visitors, timeline = result.dollars_of("visitor"), result.dollars_of("timeline")
        live, total = result.dollars_of(LIVE_LIST), result.dollars()
        rest = total - counters - visitors - timeline - live
        aim = AIMS.get((rate, cadence))
        verdict = f"  aim {aim:.2f}: {'met' if total < aim else 'missed'}" if aim else ""
        print(
            f"{rate:>6}{cadence:>9}{writes:>9.0f}{reads:>8.0f}{counters:>10.3f}{visitors:>10.3f}{timeline:>10.3f}"
            f"{live:>11.3f}{rest:>7.3f}{total:>8.3f}{result.dollars(LIVE_LIST):>9.3f}"
            f"{result.dollars(LIVE_LIST, 'timeline'):>22.3f}{verdict}"
        )


COUNTERS = ("totals", "minute", "live minute")


def print_kinds(title: str, result: Result) -> None:
    """Where the money goes."""
    print(f"\n{title}\n{'item':<28}{'writes':>8}{'bytes':>7}{'WRU':>8}{'refused':>8}{'RRU':>8}{'$':>8}{'share':>7}")
    print(f"{'':<28}{'/1000':>8}{'mean':>7}{'/1000':>8}{'':>8}{'/1000':>8}{'/M':>8}")
    total = result.dollars()
    for kind, charge in sorted(result.bill.items(), key=lambda pair: -result.dollars_of(pair[0])):
        per = 1000 / result.events
        dollars = result.dollars_of(kind)
        print(
            f"{kind:<28}{charge.writes * per:>8.1f}{charge.bytes / (charge.writes or 1):>7.0f}"
            f"{charge.write_units * per:>8.1f}{charge.refused:>8}{charge.read_units * per:>8.1f}"
            f"{dollars:>8.3f}{dollars / total:>7.1%}"
        )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=_numbers, default=[1, 20, 200, 1000], help="events a second and shard")
    parser.add_argument(
        "--cadences",
        default="fast,slow",
        help="fast, slow, written: see CADENCES",
    )
    parser.add_argument("--minutes", type=float, default=0, help="simulated minutes measured (default: by rate)")
    parser.add_argument("--kinds-at", type=_numbers, default=[200], help="rates whose items are listed by kind")
    parser.add_argument(
        "--variants", action="store_true", help="instead, try changes to the design at each rate and cadence"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    gc.set_threshold(50_000, 20, 50)
    print(
        f"{describe_machine()}; ${DOLLARS_PER_MILLION_WRITES} per million write units, "
        f"${DOLLARS_PER_MILLION_READS} per million read units ({PRICES_OF}); dollars per million events, "
        "units per 1,000 events"
    )
    cases = [(rate, cadence) for rate in options.rates for cadence in options.cadences.split(",")]

    def measured(rate: int, cadence: str, variant: Variant) -> Result:
        minutes = options.minutes or MINUTES.get(rate, 2_500 / rate)
        return run(rate, CADENCES[cadence], variant, minutes)

    if options.variants:
        try_variants(cases, measured)
        return
    began = time.monotonic()
    results = {case: measured(*case, VARIANTS[0]) for case in cases}
    print_table(results)
    plain, indexed = naive_dollars(20)
    print(f"naive (a put and three updates per event): {plain:.2f}, with an index of sessions by time {indexed:.2f}")
    for (rate, cadence), result in results.items():
        if rate in options.kinds_at:
            print_kinds(f"{rate} events/s, {cadence} cadence, {result.events:,} events", result)
    print(f"\n{time.monotonic() - began:.0f} s")


def try_variants(
    cases: list[tuple[int, str]],
    measured: Callable[[int, str, Variant], Result],
    variants: tuple[Variant, ...] = VARIANTS,
) -> None:
    """What each change would save."""
    for rate, cadence in cases:
        print(f"\n{rate} events/s, {cadence} cadence{'':<26}{'total':>8}{'saves':>8}{'no list':>9}{'no timeline':>13}")
        base = 0.0
        for variant in variants:
            result = measured(rate, cadence, variant)
            total = result.dollars()
            base = base or total
            print(
                f"{variant.name:<52}{total:>8.3f}{base - total:>8.3f}{result.dollars(LIVE_LIST):>9.3f}"
                f"{result.dollars('timeline'):>13.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
