"""A disk that fills up under load: no 2xx is lost, the answer is 503 meanwhile, and all goes on when there is room.

visitors   ==2xx==2xx==|==503==503==503==503==|==2xx==2xx==  the rest is sent again
disk         room      |   a file fills it    |   room
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.accounts import assert_counted_once
from tests.faults.load import Load
from tests.faults.services import Services, eventually

pytestmark = pytest.mark.outage

FULL_SECONDS = 10.0


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
def test_full_disk_is_waited_out(
    start_services: Callable[..., Services], small_disk: Path, seed: int, tmp_path: Path, *, killed: bool
) -> None:
    """Ingest answers 503 with Retry-After, and the API goes on, also when they are killed and start on the full disk.
    With room again both continue by themselves, and every page view with a 2xx is counted, once. The worker may end,
    and is started again by its supervisor."""
    services = start_services(small_disk / "data")
    services.start()
    services.wait_until_ready()
    load = Load(services.ingest_port, seed, padding=10)
    with load.running():
        eventually(lambda: load.acknowledged > 500, 30, services.tell)
        ballast = fill(small_disk)
        eventually(lambda: load.statuses[503] > 100, 30, services.tell)
        if killed:
            services.kill()
            services.start()
            eventually(lambda: services.ready("ingest") == 503 and services.ready("api") == 200, 30, services.tell)
        pids = services.pid("ingest"), services.pid("api")
        full_until = time.monotonic() + FULL_SECONDS
        seen = load.acknowledged
        while time.monotonic() < full_until:
            services.start("worker")
            assert services.counted()["total"] > 0
            time.sleep(0.5)
        print(f"{load.acknowledged - seen} page views were taken while the disk was full")
        assert services.ready("ingest") == 503
        ballast.unlink()
        room_at = time.monotonic()
        seen = load.acknowledged
        eventually(lambda: load.acknowledged > seen + 200, 30, services.tell)
        eventually(lambda: services.ready("ingest") == 200, 5, services.tell)
        print(f"taken again {time.monotonic() - room_at:.1f} s after there was room")
        services.start("worker")
    sent = load.sent
    print(f"answers {dict(sent.statuses)}")
    assert set(sent.statuses) == {202, 503, *([0] if killed else [])}
    assert sent.without_retry_after == 0
    assert pids == (services.pid("ingest"), services.pid("api"))
    assert_counted_once(services, sent)
    services.check_files(tmp_path)
    assert not services.tracebacks()
