"""Rebuilding with real processes: start, difference, switch, back; and the worker that follows the pointer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from ingest.delivery.group_commit import GroupCommit
from ingest.importer.access_log import PageRules
from ingest.importer.import_log import Importer, Target
from ingest.pipeline.context import Policy
from ingest.pipeline.pipeline import Pipeline
from liveinsight.__main__ import main
from liveinsight.counting.keys import CounterKey, dimension_key
from liveinsight.model.buckets import day_number, quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.sites.site import plain_sites
from liveinsight.storage.generation_pointer import Pointer, load_pointer, load_versioned_pointer, save_pointer, switched
from liveinsight.storage.store import CounterWrite, DocumentStore, ReadStore, Store
from liveinsight.storage.stream import OutRecord, Stream
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.testing.builders import MemoryStore, MemoryStream, an_event
from liveinsight.wiring import open_generations, open_reader, open_store, open_stream
from processor.embedded.generation_worker import GenerationWorker, threads_of, worker_of
from processor.embedded.worker import Worker

QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
    "LIVEINSIGHT_POLL_INTERVAL": "0.05",
}
QUICKLY = Settings.from_env(QUICK)
ROOT = "shardId-000000000000"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
LOG_DAY = date(2015, 5, 18)
FIRST_IMPORTED = 1_431_820_800


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.05)


def put(stream: Stream, first: int, last: int, at: int) -> None:
    events = [an_event(at=at, visitor=number, event_id=number) for number in range(first, last)]
    outcomes = stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])
    assert all(outcome.sequence_number for outcome in outcomes)


def corrupt(store: Store, key: CounterKey, shards: list[str], amount: int) -> None:
    """Make a stored counter wrong, as an older release might have."""
    for shard in shards:
        for item in store.load_counters(shard, [key]).values():
            item.measures["pageviews"] += amount
            assert not store.write_counters(shard, [CounterWrite.of(key, item.mark, item, 0)]).refused
            return
    raise AssertionError(f"{key} is not there")


@contextmanager
def running(worker: GenerationWorker) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def worker_on(stream: MemoryStream, store: MemoryStore, generation: int) -> Worker:
    return worker_of(QUICKLY, stream, store, generation, threads_of(QUICKLY, stream, store, system_clock))


def test_worker_goes_on_with_the_newest_generation() -> None:
    """When the pointer changes the worker drains and goes on; each generation has every event, once."""
    stream, stores = MemoryStream(system_clock, shards=2), {1: MemoryStore(), 2: MemoryStore()}
    newest = [1]
    worker = GenerationWorker(
        lambda: newest[0],
        lambda generation: worker_of(
            QUICKLY,
            stream,
            stores[generation],
            generation,
            threads_of(QUICKLY, stream, stores[generation], system_clock),
        ),
        look_seconds=0.1,
    )
    at, quarter = system_clock(), quarter_of(system_clock())

    def counted(generation: int) -> int:
        rows = stores[generation].read_totals("default", quarter, quarter).rows
        return sum(item.measures["pageviews"] for _, item in rows)

    put(stream, 1, 50, at)
    with running(worker):
        eventually(lambda: counted(1) == 49)
        for changes, (generation, last) in enumerate(((2, 100), (1, 150), (2, 200)), 2):
            newest[0] = generation
            eventually(lambda: len(worker.workers) == changes)  # noqa: B023
            put(stream, last - 50, last, at)
            eventually(lambda: counted(generation) == last - 1)  # noqa: B023
    assert counted(1) == 149
    assert len(worker.workers) == 4


def test_worker_keeps_its_generation_while_the_pointer_cannot_be_read() -> None:
    """An outage of the pointer ends nothing, neither at the start nor later."""
    asked: list[int] = []

    def newest() -> int:
        asked.append(1)
        if len(asked) % 2:
            raise LiveInsightError("away")
        return 1

    store, stream = MemoryStore(), MemoryStream(system_clock)
    worker = GenerationWorker(
        newest,
        lambda number: worker_on(stream, store, number),
        look_seconds=0.1,
    )
    with running(worker):
        eventually(lambda: len(asked) >= 7)
    assert len(worker.workers) == 1


def test_failure_of_a_shard_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a generation's worker ends the process, and is told."""
    store, stream = MemoryStore(), MemoryStream(system_clock)
    put(stream, 1, 3, system_clock())

    def fail(*_: object) -> None:
        raise LiveInsightError("broken")

    monkeypatch.setattr(store, "write_counters", fail)
    worker = GenerationWorker(
        lambda: 1,
        lambda number: worker_on(stream, store, number),
    )
    stop = threading.Event()
    threading.Timer(5, stop.set).start()
    with pytest.raises(LiveInsightError, match="broken"):
        worker.run(stop)


class Command:
    """Runs `liveinsight` commands on this test's stream and tables."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
        self.environ = {**base, **environ, **QUICK}
        self.log = folder / "worker.log"
        self.worker: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        with self.log.open("ab") as output:
            command = [sys.executable, "-m", "liveinsight", "worker"]
            self.worker = subprocess.Popen(command, env=self.environ, stdout=output, stderr=output)

    def worker_has(self, generation: int, times: int) -> bool:
        assert self.worker
        assert self.worker.poll() is None, self.log.read_text()[-3000:]
        lines = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        switches = [line for line in lines if line.get("action") == "generation" and line["generation"] == generation]
        return len(switches) == times

    def rebuild(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "liveinsight", "rebuild", *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def command(environ: dict[str, str], settings: Settings, tmp_path: Path) -> Iterator[Command]:
    command = Command(environ, tmp_path)
    yield command
    if command.worker and command.worker.poll() is None:
        command.worker.kill()
        command.worker.wait()


def counted(store: ReadStore) -> None:
    since = system_clock()
    eventually(lambda: (freshest_possible(store.read_watermarks().rows) or 0) > since)


def import_log(settings: Settings, stream: Stream) -> None:
    """Four days of page views of a few visitors, years ago."""
    sites = plain_sites(settings.sites)
    pipeline = Pipeline(lambda: sites, GroupCommit(stream), lambda *_: b"salt" * 8, policy=Policy(max_age_ms=None))
    importer = Importer(pipeline, PageRules(), Target("default", "http://blog.example"), system_clock)
    lines = []
    for number in range(600):
        stamp = time.strftime("%d/May/%Y:%H:%M:%S", time.gmtime(FIRST_IMPORTED + number * 4 * 86_400 // 600))
        target = ("/", "/about", f"/p/{number % 9}")[number % 3]
        lines.append(f'198.51.1.{number % 40} - - [{stamp} +0000] "GET {target} HTTP/1.1" 200 5 "-" "{AGENT}"')
    importer.send("log", lines)
    assert importer.summary.sent == 600


@pytest.mark.end_to_end
def test_rebuild_switch_and_back(command: Command, settings: Settings) -> None:
    """A wrong old counter is found, put right by the switch, and back again; no event is lost or double meanwhile."""
    stream, old = open_stream(settings), open_store(settings)
    now = system_clock()
    client = create_app(
        settings, open_reader(settings, lambda: plain_sites(settings.sites), system_clock), system_clock
    ).test_client()

    def about() -> int:
        answer = client.get(f"/v1/sites/default/breakdown?dimension=page&from={LOG_DAY}&to={LOG_DAY}").json
        return int({row["value"]: row["pageviews"] for row in answer["data"]}["/about"])

    def recent_views() -> int:
        return int(client.get("/v1/sites/default/totals?period=24h").json["data"]["pageviews"])

    command.start_worker()
    import_log(settings, stream)
    put(stream, 1, 101, now)
    counted(old)
    right = about()
    key = dimension_key("default", day_number(LOG_DAY), "page", "/about")
    corrupt(old, key, [shard.shard_id for shard in stream.shards()], 7)
    assert about() == right + 7

    assert "run `liveinsight rebuild start`" in command.rebuild("switch", code=1)
    assert "generation 2 has caught up: " in command.rebuild("start", "--until-caught-up", "--reads-per-second", "5")
    assert about() == right + 7
    found = json.loads(command.rebuild("diff", "--json", code=1))
    assert found["differences"] == [
        {
            "site": "default", "place": "2015-05-18", "dimension": "page", "value": "/about", "measure": "pageviews",
            "old": right + 7, "new": right, "change": -7,
        }
    ]  # fmt: skip
    assert found["compared"] > 100

    refused = command.rebuild("switch", code=1)
    assert "no day is complete in the new generation yet" in refused
    stop = threading.Event()
    sent = [101]

    def send() -> None:
        while not stop.wait(0.02):
            put(stream, sent[0], sent[0] + 2, now)
            sent[0] += 2

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert "is used from 2015-05-17 on" in command.rebuild("switch", "--from-day", "20150517")
        eventually(lambda: command.worker_has(2, 1))
        eventually(lambda: about() == right)
        assert "generation 2: shown from 2015-05-17 on, written" in command.rebuild("status")
        assert "is in use" in command.rebuild("drop", "2", "--yes", code=1)
    finally:
        stop.set()
        sender.join()
    counted(open_generations(settings)(2))
    assert recent_views() == sent[0] - 1

    assert "generation 1 is written and shown again" in command.rebuild("rollback")
    eventually(lambda: command.worker_has(1, 2))
    counted(old)
    eventually(lambda: about() == right + 7)
    assert recent_views() == sent[0] - 1
    assert "nothing to roll back" in command.rebuild("rollback", code=1)

    assert command.rebuild("drop", "2", code=2) == "Error: stdin is not a terminal: confirm with --yes\n"
    assert " deleted" in command.rebuild("drop", "2", "--yes")
    assert "generation 2" not in command.rebuild("status")
    assert about() == right + 7
    assert command.worker
    command.worker.terminate()
    assert command.worker.wait(30) == 0


@pytest.mark.end_to_end
def test_rebuild_that_is_interrupted_goes_on(command: Command, settings: Settings) -> None:
    """A second start goes on where the first one was ended, and ends by itself when the switch has come."""
    stream = open_stream(settings)
    put(stream, 1, 101, system_clock())
    arguments = [sys.executable, "-m", "liveinsight", "rebuild", "start", "--reads-per-second", "5"]

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(arguments, env=command.environ, stdout=subprocess.PIPE, text=True)

    with started() as first:
        assert first.stdout
        assert any("has caught up: 100 records" in line for line in iter(first.stdout.readline, ""))
        first.terminate()
        assert "drained; 100 records read in this run" in first.stdout.read()
        assert first.wait(30) == 0
    put(stream, 101, 111, system_clock())
    with started() as second:
        assert second.stdout
        lines = iter(second.stdout.readline, "")
        assert any("has caught up: 10 records" in line for line in lines)
        command.rebuild("switch", "--from-day", "2026-01-01")
        assert any("active now: the worker continues with it" in line for line in lines)
        assert second.wait(30) == 0
    assert sum(item.measures["pageviews"] for _, item in _today(open_generations(settings)(2))) == 110
    assert _today(open_generations(settings)(1)) == []


def _today(store: ReadStore) -> list[Any]:
    quarter = quarter_of(system_clock())
    return store.read_totals("default", quarter - 2, quarter).rows


def test_switch_that_somebody_else_overtakes(
    settings: Settings, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two operators at once one gets an error, and the other's change stands."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    store = open_generations(settings)(1)
    save_pointer(store, switched(Pointer(), 2, 20260101, 1), 0)

    def overtaken(loaded_from: DocumentStore) -> tuple[Pointer, int]:
        loaded = load_versioned_pointer(loaded_from)
        save_pointer(store, switched(loaded[0], 3, 20260202, 2), loaded[1])
        return loaded

    monkeypatch.setattr("processor.rebuild.actions.load_versioned_pointer", overtaken)
    assert main(["rebuild", "rollback"]) == 1
    assert "another command has just changed the active generations" in capsys.readouterr().err
    assert [each.generation for each in load_pointer(store).active] == [1, 2, 3]
