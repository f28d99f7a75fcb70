"""Counting once: the real fold, flush and store code, through crashes, zombies, reshards and lost answers.

Every run is one seed of `liveinsight.testing.simulation`: a random log on a stream that splits and merges while it
is read, and record processors that crash between or within writes, lose their shard and carry on, get throttled, miss
an answer to a write, or see the write done twice. At the end, counters, sessions, timelines and dead letters
must equal those of folding each event once, in order.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from liveinsight.counting.counters import decode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.sessions import decode_visitor
from liveinsight.counting.timeline import unpack_waiting
from liveinsight.settings import Settings
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.storage.store import ProcessorStore
from liveinsight.testing.builders import FakeClock
from liveinsight.testing.counters import split_items
from liveinsight.testing.expected import Tally, as_folded, dead_letters_in, differences, numbers, stored_in
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.simulation import Simulation
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.seeds import simulation_seeds

pytestmark = pytest.mark.simulation

SEEDS = simulation_seeds(2000)
OPTIONS = ProcessorOptions(
    counters_interval=1, previews_interval=2, sessions_interval=3, give_up_after=30, drain_within=5
)
SMALL_STEPS = replace(
    OPTIONS,
    fold_slice=2,
    counter_slice=4,
    visitor_slice=2,
    cached_counters=3,
    cached_visitors=1,
    uncompressed_visitors=1,
)
"""Next to nothing is kept in memory and a flush has many steps: items are evicted and read again all the time."""


@pytest.fixture(autouse=True)
def _short_memory_for_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembered event ids would hide a missing skip rule: with a short memory the marks must do it alone."""
    monkeypatch.setattr("liveinsight.counting.sessions.MAX_RECENT_IDS", 2)


def make_processor(store: ProcessorStore, incarnation: int, clock: FakeClock) -> RecordProcessor:
    return RecordProcessor(store, incarnation, OPTIONS, clock, sleep=lambda seconds: clock.advance(seconds=seconds))


def make_processor_in_small_steps(store: ProcessorStore, incarnation: int, clock: FakeClock) -> RecordProcessor:
    return RecordProcessor(store, incarnation, SMALL_STEPS, clock, sleep=lambda seconds: clock.advance(seconds=seconds))


@pytest.mark.parametrize("part", range(8))
def test_what_is_stored_equals_a_recount(part: int) -> None:
    """Whatever dies, stalls or repeats itself, everything stored equals the recount of the distinct events."""
    for seed in SEEDS[part::8]:
        store = MemoryStore()
        simulation = Simulation(seed, make_processor_in_small_steps if seed % 2 else make_processor, store=store)
        simulation.run()
        wrong = differences(stored_in(store), simulation.expected())
        assert wrong == [], f"TEST_SEED={seed} runs it alone\n" + "\n".join(wrong)


def test_the_same_in_sqlite(on_sqlite: Settings) -> None:
    """The store of one machine, each run on a generation of its own."""
    backend = SqliteBackend(on_sqlite, FakeClock())
    for seed in SEEDS[::50]:
        store = backend.store(seed)
        simulation = Simulation(seed, make_processor_in_small_steps if seed % 2 else make_processor, store=store)
        simulation.run()
        wrong = differences(stored_in_sqlite(backend, seed), simulation.expected())
        assert wrong == [], f"TEST_SEED={seed} runs it alone\n" + "\n".join(wrong)


def stored_in_sqlite(backend: SqliteBackend, generation: int) -> Tally:
    """Everything of a generation, from the tables themselves."""
    store = backend.store(generation)
    with backend.store_file.reading() as connection:

        def rows(columns: str, table: str) -> list[tuple[Any, ...]]:
            return connection.execute(f"SELECT {columns} FROM {table} WHERE generation = ?", [generation]).fetchall()

        items = [
            (CounterKey(*key), decode_counter(data, mark))
            for *key, data, mark in rows("kind, site, bucket, dimension, value, data, mark", "counters")
        ]
        states = [decode_visitor(data) for (data,) in rows("data", "visitors")]
        names = set(rows("site, session", "timelines"))
    names |= {(state.site, name) for state in states for name, _, _ in unpack_waiting(state.tail)}
    timelines = {(site, name): store.read_timeline(site, name, 10_000).rows for site, name in sorted(names)}
    return Tally(
        numbers(split_items(items)),
        {(state.site, state.visitor): as_folded(state) for state in states},
        {name: sorted(marked, key=lambda pair: pair[0]) for name, marked in timelines.items()},
        sorted(letter.mark for letter in dead_letters_in(store)),
    )
