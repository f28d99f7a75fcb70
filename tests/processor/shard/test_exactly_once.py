"""Counting once: the real fold, flush and store code, through crashes, zombies, reshards and lost answers.

Every run is one seed of `liveinsight.testing.simulation`: a random log on a stream that splits and merges while it
is read, and record processors that crash between or within writes, lose their shard and carry on, get throttled, miss
an answer to a write, or see the write done twice. At the end, counters, sessions, timelines and dead letters
must equal those of folding each event once, in order.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from liveinsight.storage.backend import Backend
from liveinsight.storage.store import ProcessorStore, Store
from liveinsight.testing.builders import FakeClock
from liveinsight.testing.expected import Tally, differences, stored_in, stored_items_in
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.simulation import Simulation
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.seeds import simulation_seeds

pytestmark = pytest.mark.simulation

SEEDS = simulation_seeds(2000)
SEEDS_ON_SQLITE = simulation_seeds(200)
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


def wrong_after(seed: int, store: Store, stored: Callable[[], Tally]) -> list[str]:
    """What a run leaves wrong in a store; `stored` reads it."""
    simulation = Simulation(seed, make_processor_in_small_steps if seed % 2 else make_processor, store=store)
    simulation.run()
    return differences(stored(), simulation.expected())


@pytest.mark.parametrize("part", range(8))
def test_what_is_stored_equals_a_recount(part: int) -> None:
    """Whatever dies, stalls or repeats itself, everything stored equals the recount of the distinct events."""
    for seed in SEEDS[part::8]:
        store = MemoryStore()
        wrong = wrong_after(seed, store, lambda: stored_in(store))  # noqa: B023
        assert wrong == [], f"TEST_SEED={seed} runs it alone\n" + "\n".join(wrong)


@pytest.mark.parametrize("part", range(2))
def test_what_is_stored_in_sqlite_equals_a_recount(part: int, sqlite_in_memory: Backend) -> None:
    """The same in a file, each run in a generation of its own."""
    for seed in SEEDS_ON_SQLITE[part::2]:
        store, items = sqlite_in_memory.store(seed + 1), sqlite_in_memory.items(seed + 1)
        wrong = wrong_after(seed, store, lambda: stored_items_in(store, items))  # noqa: B023
        assert wrong == [], f"TEST_SEED={seed} runs it alone\n" + "\n".join(wrong)
