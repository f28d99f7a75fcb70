"""A damaged file under the running services: 503 or a clear message, never a traceback, and a restore repairs it."""

from __future__ import annotations

import gc
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liveinsight.devstack.loopback import free_port
from liveinsight.runtime.retry import wait_until
from liveinsight.settings import Settings
from liveinsight.testing.builders import an_event
from tests.liveinsight.sqlite.counting import backend_of, count_all, put

pytestmark = pytest.mark.end_to_end

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def folder(on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with some counted events and some more; commands find it."""
    folder = Path(on_sqlite.data_dir)
    backend = backend_of(folder)
    put(backend, *(an_event(visitor=number) for number in range(1, 200)))
    count_all(backend)
    put(backend, *(an_event(visitor=number) for number in range(200, 400)))
    for file in (backend.stream_file, backend.store_file):
        file.shorten_log()
        file.close()
    # Connections of the fixtures' own backends would count as use.
    gc.collect()
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", str(folder))
    for name in ("INGEST", "API"):
        monkeypatch.setenv(f"LIVEINSIGHT_{name}_PORT", str(free_port()))
    return folder


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a service, its log in a file; it is stopped in the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(name: str) -> subprocess.Popen[str]:
        with (tmp_path / f"{name}.log").open("w") as log:
            running.append(subprocess.Popen([sys.executable, "-m", "liveinsight", name], stderr=log, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait(60)


def run(*command: str) -> tuple[int, str]:
    """A command that ends by itself: its exit code, and what it says on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "liveinsight", *command], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def ask(service: str, method: str, path: str, body: object = None) -> int:
    """The status of an answer; 0 while nobody answers."""
    port = int(os.environ[f"LIVEINSIGHT_{service}_PORT"])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            headers = {"User-Agent": AGENT, "Content-Type": "text/plain"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            answer.read()
        except OSError:
            return 0
        return answer.status


def collect() -> int:
    view = {"event_type": "page_view", "page_url": "https://x.example/", "user_id": "u"}
    return ask("INGEST", "POST", "/collect", view)


def totals() -> int:
    return ask("API", "GET", "/v1/sites/default/totals?period=24h")


def soon(ready: Callable[[], bool]) -> bool:
    return wait_until(ready, possible=lambda: True, seconds=30, sleep=time.sleep)


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    """The first page and every second one."""
    with file.open("r+b") as opened:
        for page in range(0, file.stat().st_size // 4096, 2):
            opened.seek(page * 4096)
            opened.write(b"\xa5" * 4096)


def empty(file: Path) -> None:
    os.truncate(file, 0)


@pytest.mark.parametrize("damage", [truncate, overwrite, empty])
def test_services_on_damaged_files(folder: Path, start: Start, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Ingest and the API answer 503 or what they still can, the worker ends with a message or waits; `check` says so.
    After a restore everything answers."""
    file = tmp_path / "backup.db"
    assert run("backup", str(file))[0] == 0
    for name in ("stream.db", "store.db"):
        damage(folder / name)
    running = [start(name) for name in ("ingest", "api", "worker")]
    assert soon(lambda: collect() > 0 or running[0].poll() is not None)
    assert soon(lambda: totals() > 0 or running[1].poll() is not None)
    assert collect() in {503, 0}
    assert totals() in {503, 0}
    assert soon(lambda: "liveinsight restore" in (tmp_path / "worker.log").read_text() or damage is empty)
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait(60)
    code, told = run("check")
    assert code == 1
    assert "Traceback" not in told
    for name in ("ingest", "api", "worker"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()
    assert run("restore", "--yes", str(file))[0] == 0
    assert run("check")[0] == 0
    for name in ("ingest", "api"):
        start(name)
    assert soon(lambda: collect() == 202)
    assert soon(lambda: totals() == 200)


def test_damage_under_running_services(folder: Path, start: Start, tmp_path: Path) -> None:
    """While they run, connections are open and pages cached: what can no longer be read is 503."""
    for name in ("ingest", "api"):
        start(name)
    assert soon(lambda: collect() == 202)
    assert soon(lambda: totals() == 200)
    for name in ("stream.db", "store.db"):
        with closing(sqlite3.connect(folder / name)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite(folder / name)
    answers = {collect() for _ in range(20)} | {totals() for _ in range(20)}
    assert answers <= {202, 200, 503}
    for name in ("ingest", "api"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


def test_stream_without_its_log(on_sqlite: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has counted more than the stream still has: it says so and ends, before numbers are given twice."""
    backend = backend_of(Path(on_sqlite.data_dir))
    backend.stream_file.shorten_log()
    put(backend, *(an_event(visitor=number) for number in range(1, 20)))
    count_all(backend)
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("stream.db", "store.db", "store.db-wal"):
        shutil.copyfile(Path(on_sqlite.data_dir) / name, folder / name)
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", str(folder))
    code, told = run("worker", "--processes", "1")
    assert code == 1
    assert "stream.db ends before what was read from it" in told.splitlines()[-1]
    assert "Traceback" not in told.splitlines()[-1]
    assert run("check")[0] == 1
