"""One machine under load: everything is killed, the disk fills up, the files become read-only.

Real processes work on real files. Threads send page views and note what was answered 2xx; what was not is sent again
with the same ids, as the tracker does. In the end every page view is counted once.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liveinsight.devstack.loopback import http_status, is_free

pytestmark = pytest.mark.outage

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
KILLS = int(os.environ.get("KILLS", "8"))
SENDERS = 6
FILES = ("stream.db", "store.db")
IN_CI = os.environ.get("CI") == "true"


def low_port() -> int:
    """A free port below those that outgoing connections are given: a sender must not take it while ingest is down."""
    return next(port for port in random.sample(range(20_000, 32_000), 1_000) if is_free(port))


class Services:
    """Ingest with two workers, the worker with two processes, and the API, on one data folder."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.ingest, self.api = low_port(), low_port()
        self._logs = logs
        self.environ = {
            **os.environ,
            "LIVEINSIGHT_DATA_DIR": str(folder),
            "LIVEINSIGHT_INGEST_PORT": str(self.ingest),
            "LIVEINSIGHT_API_PORT": str(self.api),
            "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
            "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
            "LIVEINSIGHT_POLL_INTERVAL": "0.05",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        assert self.run("init").returncode == 0

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "liveinsight", *command],
            env=self.environ, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def start(self) -> None:
        """Start what does not run, and wait until ingest takes requests."""
        for command in (["ingest", "--workers", "2", "--threads", "32"], ["worker", "--processes", "2"], ["api"]):
            old = self.running.get(command[0])
            if old is None or old.poll() is not None:
                with (self._logs / f"{command[0]}.log").open("ab") as log:
                    self.running[command[0]] = subprocess.Popen(
                        [sys.executable, "-m", "liveinsight", *command],
                        env=self.environ, stdout=log, stderr=log, start_new_session=True,
                    )  # fmt: skip
        self.wait(lambda: http_status(self.ingest, "/readyz") == 200)

    def kill(self) -> None:
        """SIGKILL for every process."""
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.running.values():
            process.wait()
        self.running.clear()

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        give_up_at = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up_at:
                tails = [path.read_text(errors="replace")[-2_000:] for path in self._logs.glob("*.log")]
                pytest.fail("did not happen in time:\n" + "\n".join(tails))
            time.sleep(0.05)

    def ask(self, path: str) -> Any:
        """Data of an answer of the API; None without an answer of 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return json.loads(body)["data"] if answer.status == 200 else None

    def counted(self) -> int:
        """Page views by the API; -1 without an answer."""
        data = self.ask("/v1/sites/default/totals?period=7d")
        return -1 if data is None else int(data["pageviews"])

    def pages(self) -> dict[str, int]:
        """Page views by page."""
        rows = self.ask("/v1/sites/default/breakdown?dimension=page&period=7d&limit=1000")
        return {row["value"]: row["pageviews"] for row in rows or ()}

    def check_integrity(self) -> None:
        """Both files are whole, also for SQLite itself."""
        for name in FILES:
            with contextlib.closing(sqlite3.connect(self.folder / name)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class Load:
    """Threads that send page views, each of visitors of its own."""

    def __init__(self, services: Services, rng: random.Random) -> None:
        self._services = services
        self._stop = threading.Event()
        self.acknowledged: list[tuple[str, str]] = []
        """(event id, page) of everything that was answered 2xx."""
        self.refusals: Counter[int] = Counter()
        """Answers that were not 2xx; 0 stands for none."""
        self.retry_after: set[str | None] = set()
        seeds = [rng.getrandbits(32) for _ in range(SENDERS)]
        self._threads = [threading.Thread(target=self._send, args=(n, random.Random(s))) for n, s in enumerate(seeds)]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Send again what was not acknowledged, until nothing is left; then end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a sender is stuck"

    def _send(self, number: int, rng: random.Random) -> None:
        events = 0
        while not self._stop.is_set():
            batch = []
            for _ in range(rng.choice((1, 1, 3))):
                events += 1
                batch.append((f"{number}-{events}", f"/page/{rng.randrange(20)}"))
            body = json.dumps([self._payload(number, rng.randrange(10), *event) for event in batch])
            # Repeated until it is acknowledged, whatever happens.
            while not self._post(body):
                time.sleep(0.05)
            self.acknowledged += batch

    def _payload(self, number: int, visitor: int, event_id: str, page: str) -> dict[str, str]:
        url = f"https://shop.example{page}"
        return {"event_type": "page_view", "id": event_id, "user_id": f"u{number}.{visitor}", "page_url": url}

    def _post(self, body: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._services.ingest, timeout=5)
        try:
            connection.request("POST", "/collect", body, {"Content-Type": "text/plain", "User-Agent": AGENT})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.refusals[0] += 1
            return False
        finally:
            connection.close()
        if answer.status >= 300:
            self.refusals[answer.status] += 1
            self.retry_after.add(answer.getheader("Retry-After"))
        return answer.status < 300


def check_counts(services: Services, load: Load) -> None:
    """Everything that was acknowledged is counted once: by the API, by page, and by a second count of the stream."""
    sent = len(load.acknowledged)
    assert len({event_id for event_id, _ in load.acknowledged}) == sent
    services.wait(lambda: services.counted() >= sent)
    expected = Counter(page for _, page in load.acknowledged)
    services.wait(lambda: sum(services.pages().values()) >= sent)
    assert services.counted() == sent
    assert services.pages() == expected
    verified = services.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Services]]:
    begun: list[Services] = []

    def begin(folder: Path) -> Services:
        begun.append(Services(folder, tmp_path))
        return begun[-1]

    yield begin
    for services in begun:
        services.kill()


def test_kills_lose_nothing_and_count_nothing_twice(
    serve: Callable[[Path], Services], tmp_path: Path, rng: random.Random
) -> None:
    """All processes are killed at random moments (KILLS=100 for more of them); both files are whole each time."""
    services = serve(tmp_path / "data")
    services.start()
    load = Load(services, rng)
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.1, 1.0))
        services.kill()
        services.check_integrity()
        services.start()
    load.finish()
    check_counts(services, load)
    assert load.refusals[0] >= KILLS


def need(program: str) -> None:
    """Skip what this machine cannot do; in CI that is a failure."""
    if os.geteuid() != 0 or not shutil.which(program):
        if IN_CI:
            pytest.fail(f"{program} and the rights of root are needed")
        pytest.skip(f"{program} and the rights of root are needed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    need("mount")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def check_outage(services: Services, load: Load) -> None:
    """Ingest says 503, with the time to wait, and is not ready; nothing is acknowledged."""
    services.wait(lambda: load.refusals[503] >= SENDERS)
    services.wait(lambda: http_status(services.ingest, "/readyz") == 503)
    acknowledged = len(load.acknowledged)
    time.sleep(1)
    assert len(load.acknowledged) == acknowledged
    assert None not in load.retry_after


def check_recovery(services: Services, load: Load, pids: dict[str, int]) -> None:
    """Everything goes on by itself, in the same processes."""
    acknowledged = len(load.acknowledged)
    services.wait(lambda: len(load.acknowledged) > acknowledged + 100)
    load.finish()
    check_counts(services, load)
    assert {name: process.pid for name, process in services.running.items()} == pids
    assert all(process.poll() is None for process in services.running.values())
    services.check_integrity()


def test_full_disk_is_an_outage_that_ends_by_itself(
    serve: Callable[[Path], Services], small_disk: Path, rng: random.Random
) -> None:
    """Ingest answers 503 while the disk is full, and loses nothing; with room again all processes go on."""
    services = serve(small_disk / "data")
    services.start()
    pids = {name: process.pid for name, process in services.running.items()}
    load = Load(services, rng)
    services.wait(lambda: len(load.acknowledged) > 200)
    ballast = small_disk / "ballast"
    fill(ballast)
    check_outage(services, load)
    ballast.unlink()
    check_recovery(services, load, pids)


def test_read_only_files_are_an_outage_that_ends_by_itself(
    serve: Callable[[Path], Services], tmp_path: Path, rng: random.Random
) -> None:
    """Files that cannot be written, not even by who has them open, are an outage for ingest. The API still answers."""
    need("chattr")
    services = serve(tmp_path / "data")
    services.start()
    pids = {name: process.pid for name, process in services.running.items()}
    load = Load(services, rng)
    services.wait(lambda: len(load.acknowledged) > 200)
    services.wait(lambda: services.counted() > 0)
    # Not the shared memory of the processes: touching it would end them with a signal.
    files = [path for path in services.folder.glob("*.db*") if not path.name.endswith("-shm")]
    if subprocess.run(["chattr", "+i", *files], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        check_outage(services, load)
        assert services.counted() > 0
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)
    check_recovery(services, load, pids)
