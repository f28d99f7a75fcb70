"""`liveinsight worker --processes N` as an operator runs it: real processes on the files of one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import an_event
from liveinsight.wiring import open_store, open_stream

pytestmark = pytest.mark.end_to_end

QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
    "LIVEINSIGHT_POLL_INTERVAL": "0.05",
}


class RunningWorker:
    """The command, with two processes that share four shards."""

    def __init__(self, settings: Settings, log: Path) -> None:
        environ = {**os.environ, **QUICK, "LIVEINSIGHT_DATA_DIR": settings.data_dir}
        command = [sys.executable, "-m", "liveinsight", "worker", "--processes", "2"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, env=environ, stderr=output)
        self._log = log

    def last_line(self) -> dict[str, object]:
        """Of its log."""
        line: dict[str, object] = json.loads(self._log.read_text().splitlines()[-1])
        return line

    def children(self) -> list[int]:
        """The processes that drive shards: those below the one that forks them."""
        return [pid for server in children_of(self.process.pid) for pid in children_of(server)]

    def drain(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


Start = Callable[[], RunningWorker]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {"LIVEINSIGHT_DATA_DIR": str(tmp_path / "data"), "LIVEINSIGHT_SHARDS": "4"}
    subprocess.run([sys.executable, "-m", "liveinsight", "init"], env={**os.environ, **environ}, check=True)
    return Settings.from_env(environ)


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    begun: list[RunningWorker] = []

    def begin() -> RunningWorker:
        begun.append(RunningWorker(settings, tmp_path / f"{len(begun)}.log"))
        return begun[-1]

    yield begin
    for worker in begun:
        worker.process.kill()
        worker.process.wait()


def put(settings: Settings, first: int, last: int) -> None:
    now = system_clock()
    events = [an_event(at=now, visitor=number, event_id=number) for number in range(first, last)]
    stream = open_stream(settings)
    for at in range(0, len(events), 500):
        part = events[at : at + 500]
        stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in part])


def counted(settings: Settings) -> int:
    quarter = quarter_of(system_clock())
    rows = open_store(settings).read_totals("default", quarter - 2, quarter).rows
    return sum(item.measures.get("pageviews", 0) for _, item in rows)


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.05)


def test_processes_share_the_shards_and_drain(settings: Settings, start: Start) -> None:
    """Two processes drive four shards and count everything once. SIGTERM drains both; the last line of the log tells
    what they did together, and the next start goes on from there."""
    worker = start()
    put(settings, 1, 1_001)
    eventually(lambda: counted(settings) == 1_000)
    assert len(worker.children()) == 2
    put(settings, 1_001, 1_501)
    assert worker.drain() == 0
    drained = counted(settings)
    assert worker.last_line()["events"] == drained
    put(settings, 1_501, 2_001)
    second = start()
    eventually(lambda: counted(settings) == 2_000)
    assert second.drain() == 0
    assert (second.last_line()["events"], second.last_line()["skipped"]) == (2_000 - drained, 0)


def test_a_killed_process_ends_the_worker(settings: Settings, start: Start) -> None:
    """The other process drains, the exit code is 1, and the next start counts what is missing: every event once."""
    worker = start()
    put(settings, 1, 501)
    eventually(lambda: counted(settings) > 0)
    os.kill(worker.children()[0], signal.SIGKILL)
    assert worker.process.wait(30) == 1
    put(settings, 501, 1_001)
    second = start()
    eventually(lambda: counted(settings) == 1_000)
    assert second.drain() == 0
    assert counted(settings) == 1_000


def test_processes_end_with_their_worker(settings: Settings, start: Start) -> None:
    """A worker that is killed leaves no process behind, and nothing is lost or counted twice."""
    worker = start()
    put(settings, 1, 501)
    eventually(lambda: counted(settings) > 0)
    orphans = [*children_of(worker.process.pid), *worker.children()]
    assert len(orphans) >= 3
    worker.process.kill()
    worker.process.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), 15)
    put(settings, 501, 1_001)
    second = start()
    eventually(lambda: counted(settings) == 1_000)
    assert second.drain() == 0
    assert counted(settings) == 1_000
