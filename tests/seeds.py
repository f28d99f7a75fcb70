"""Seeds of everything random in the tests. TEST_SEED sets them all, so that a failure can be repeated."""

from __future__ import annotations

import os
import random


def draw_seed() -> int:
    """TEST_SEED, or else another number each time. It is printed: pytest shows it with a failure."""
    seed = int(os.environ.get("TEST_SEED") or random.randrange(2**32))
    print(f"TEST_SEED={seed} repeats this")
    return seed


def simulation_seeds(runs: int) -> range:
    """Seeds of a simulation: the same `runs` each time, or as TEST_SEED (the first) and TEST_RUNS (how many) say."""
    alone = "TEST_SEED" in os.environ
    first = int(os.environ.get("TEST_SEED", "0"))
    return range(first, first + int(os.environ.get("TEST_RUNS", "1" if alone else str(runs))))
