"""A data folder that becomes read-only under load: 503 meanwhile, the API still reads, and all goes on by itself.

    visitors      ==2xx==2xx==|==503==503==503==503==|==2xx==2xx==  the rest is sent again
    data folder      writable |  every file frozen   | writable

The files are made immutable, which also stops who has opened them before, as no change of permissions does.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.accounts import assert_counted_once
from tests.faults.conftest import impossible
from tests.faults.load import Load
from tests.faults.services import Services, eventually

pytestmark = pytest.mark.outage

FROZEN_SECONDS = 8.0


class Freezer:
    """Makes a folder and its files immutable, and not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def freeze(self) -> None:
        """From now on nothing in it can be written, created or deleted."""
        self._change("+i", [*self._folder.iterdir(), self._folder])

    def thaw(self) -> None:
        """As before."""
        self._change("-i", [self._folder, *self._folder.iterdir()])

    def _change(self, flag: str, paths: list[Path]) -> None:
        done = subprocess.run(["chattr", flag, *paths], capture_output=True, text=True, check=False)
        if done.returncode:
            impossible(f"needs root, and a file system with immutable files: {done.stderr}")


@pytest.fixture
def freezer(tmp_path: Path) -> Iterator[Freezer]:
    """Of the data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    freezer = Freezer(folder)
    freezer.freeze()
    freezer.thaw()
    yield freezer
    freezer.thaw()


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
def test_read_only_folder_is_waited_out(
    start_services: Callable[..., Services], freezer: Freezer, seed: int, tmp_path: Path, *, killed: bool
) -> None:
    """Ingest answers 503 with Retry-After, and the API goes on, also when they are killed and start on the frozen
    files. Then both continue by themselves, and every page view with a 2xx is counted, once.

    A process that changes the index of the log in memory at that very moment gets SIGBUS: servers replace it, and the
    supervisor of the worker starts it again.
    """
    services = start_services(tmp_path / "data")
    services.start()
    services.wait_until_ready()
    load = Load(services.ingest_port, seed)
    with load.running():
        eventually(lambda: load.acknowledged > 500, 30, services.tell)
        eventually(lambda: services.counted()["total"] > 0, 30, services.tell)
        freezer.freeze()
        if killed:
            services.kill()
            services.start()
        eventually(lambda: services.ready("ingest") == 503 and services.ready("api") == 200, 30, services.tell)
        pids = services.pid("ingest"), services.pid("api")
        frozen_until = time.monotonic() + FROZEN_SECONDS
        seen = load.acknowledged
        while time.monotonic() < frozen_until:
            services.start("worker")
            assert services.counted()["total"] > 0
            time.sleep(0.5)
        assert load.acknowledged == seen
        assert services.ready("ingest") == 503
        freezer.thaw()
        writable_at = time.monotonic()
        eventually(lambda: load.acknowledged > seen + 200, 30, services.tell)
        eventually(lambda: services.ready("ingest") == 200, 5, services.tell)
        print(f"taken again {time.monotonic() - writable_at:.1f} s after the folder was writable")
        services.start("worker")
    sent = load.sent
    print(f"answers {dict(sent.statuses)}")
    assert set(sent.statuses) <= {202, 503, 0}
    assert sent.statuses[503] > 100
    assert sent.without_retry_after == 0
    assert pids == (services.pid("ingest"), services.pid("api"))
    assert_counted_once(services, sent)
    services.check_files(tmp_path)
    assert not services.tracebacks()
