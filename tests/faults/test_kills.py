"""Everything on one machine is killed under load, again and again: what was acknowledged is counted, and once.

visitors   ==send==send==send==send==send==send==send==send==send==  the rest is sent again
services   ====X   ========X ==X      ===========X  ...             ====================== counts compared
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.accounts import assert_counted_once
from tests.faults.load import Load
from tests.faults.services import COMMANDS, Services

pytestmark = pytest.mark.end_to_end

KILLS = int(os.environ.get("TEST_KILLS", "20"))
"""A hundred take five minutes."""


def test_all_are_killed_at_random_moments(
    start_services: Callable[..., Services], seed: int, rng: random.Random, tmp_path: Path
) -> None:
    """Whatever moment SIGKILL comes at, the files are whole, every page view with a 2xx is counted, and none twice."""
    services = start_services(tmp_path / "data")
    load = Load(services.ingest_port, seed, gives_up=0.02)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    began = time.monotonic()
    with load.running():
        for _ in range(KILLS):
            services.start()
            if rng.random() < 0.8:
                services.wait_until_ready()
                time.sleep(rng.uniform(0, 1.5))
            else:
                time.sleep(rng.uniform(0, 3))
            services.kill(rng.sample(list(COMMANDS), len(COMMANDS)))
            services.check_files(scratch)
        services.start()
        services.wait_until_ready()
    sent = load.sent
    told = f"{KILLS} kills in {time.monotonic() - began:.0f} s: {len(sent.acknowledged)} page views acknowledged"
    print(f"{told}, {len(sent.given_up)} given up; answers {dict(sent.statuses)}")
    assert_counted_once(services, sent)
