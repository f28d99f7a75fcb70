"""`liveinsight status`: who is unhealthy and who only looks like it, lineage, leases, exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from liveinsight.__main__ import main
from liveinsight.aws.clients import dynamodb_client, kinesis_client
from liveinsight.aws.kcl_tables import lease_table, read_leases
from liveinsight.bootstrap import initialise
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import StreamUnavailable
from liveinsight.model.events import encode_record, partition_key
from liveinsight.runtime.report_text import duration_text
from liveinsight.settings import Settings
from liveinsight.storage.backend import Lease
from liveinsight.storage.generation_pointer import load_versioned_pointer, save_pointer, switched
from liveinsight.storage.store import SHARD_END, Checkpoint, DeadLetter, Store, Watermark
from liveinsight.storage.stream import OutRecord, RecordBatch, StartAt, Stream
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.testing.resharding_stack import DynamoDBLocal, KinesisMock
from liveinsight.wiring import open_generations, open_store, open_stream
from processor.embedded.generation_worker import threads_of, worker_of
from processor.status.backlog import Backlog, find_backlog
from processor.status.command import Watcher
from processor.status.facts import Facts, gather
from processor.status.health import State, StreamStatus
from processor.status.view import as_json, screen, written_at

ROOT = "shardId-000000000000"
MINUTE = 60_000
LIMIT_MS = 2 * MINUTE


class Place:
    """A stream of one shard, and what a worker would have left behind."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.stream = MemoryStream(clock, shards=1)
        self.store = MemoryStore()
        self.leases: dict[str, Lease] = {}
        self.start_at = StartAt.TRIM_HORIZON
        self.incarnation = self.stream.incarnation()
        self.slept = 0.0

    def put(self, records: int = 1) -> None:
        for _ in range(records):
            self.stream.put([OutRecord("b001", encode_record([an_event()]))])

    def counted(self, sequence_number: str, *, shard_id: str = ROOT, as_of: int | None = None) -> None:
        """A worker has flushed up to here, and checkpointed, if there was anything to checkpoint."""
        now = self.clock() if as_of is None else as_of
        closed = sequence_number == SHARD_END
        self.store.write_watermark(Watermark(shard_id, now, closed, self.incarnation, now))
        if sequence_number:
            self.store.write_checkpoint(shard_id, Checkpoint(self.incarnation, sequence_number))

    def facts(self) -> Facts:
        return gather(self.stream, self.store, self.leases, now=self.clock(), start_at=self.start_at, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.clock.advance(seconds=seconds)

    def watcher(self, sleep: Callable[[float], object] | None = None) -> Watcher:
        return Watcher(self.facts, LIMIT_MS, 5.0, sleep or self._sleep)

    def look(self) -> StreamStatus:
        return self.watcher().look_twice()

    def states(self) -> dict[str, State]:
        return {shard.facts.shard_id: shard.state for shard in self.look().shards}

    def state(self) -> State:
        return self.states()[ROOT]


@pytest.fixture
def place(clock: FakeClock) -> Place:
    return Place(clock)


def test_idle_stream_with_a_worker_is_up_to_date(place: Place) -> None:
    """Nothing waits, and the worker's ticks move the watermark."""
    place.put(3)
    place.counted("3")
    place.clock.advance(seconds=3)
    (shard,) = place.look().shards
    assert (shard.state, shard.lag_ms) == (State.UP_TO_DATE, 0)


def test_idle_stream_without_a_worker_is_healthy_but_shown(place: Place) -> None:
    """A worker that died leaves no record waiting where nothing comes: that is no alarm, but an operator sees it."""
    place.put(3)
    place.counted("3")
    place.clock.advance(hours=5)
    found = place.look()
    assert found.healthy
    assert found.shards[0].state is State.QUIET
    text = shown(found)
    assert "5 h ago" in text
    assert "none runs, or Lambda is idle" in text


def test_dead_worker_with_records_waiting_is_unhealthy(place: Place) -> None:
    """Records that have waited for two minutes without a flush are what a monitor is told about."""
    place.put(3)
    place.counted("3")
    place.put()
    place.clock.advance(seconds=100)
    assert place.state() is State.WORKING
    place.clock.advance(seconds=25)
    found = place.look()
    assert not found.healthy
    assert found.stalled == [ROOT]
    assert 125_000 <= found.shards[0].lag_ms <= 135_000
    assert "UNHEALTHY" in shown(found)


def test_records_that_have_just_come_after_a_long_silence(place: Place) -> None:
    """The two minutes begin when records wait, not at the last flush before a silence."""
    place.put()
    place.counted("1")
    place.clock.advance(hours=8)
    place.put()
    place.clock.advance(seconds=10)
    assert place.state() is State.WORKING
    assert place.look().shards[0].lag_ms == 10_000


def test_flushes_between_checkpoints_count(place: Place) -> None:
    """With rare checkpoints records seem to wait for long: the watermark says that they are counted."""
    place.put(2)
    place.counted("1")
    place.clock.advance(minutes=30)
    place.store.write_watermark(place.store.watermarks[ROOT]._replace(fresh_as_of=place.clock()))
    place.clock.advance(seconds=2)
    (shard,) = place.look().shards
    assert (shard.state, shard.lag_ms) == (State.WORKING, 2_000)


@pytest.mark.parametrize("moves", ["checkpoint", "watermark"])
def test_worker_that_catches_up_is_healthy(place: Place, moves: str) -> None:
    """A worker that is an hour behind is well as long as its checkpoint or its watermark move while we look."""
    begun = place.clock()
    place.put(9)
    place.clock.advance(hours=1)
    place.counted("3", as_of=begun + 1)

    def meanwhile(seconds: float) -> None:
        place.clock.advance(seconds=seconds)
        place.counted("4" if moves == "checkpoint" else "3", as_of=begun + (1 if moves == "checkpoint" else 1_000))

    found = place.watcher(meanwhile).look_twice()
    assert found.healthy
    assert found.shards[0].state is State.CATCHING_UP
    assert found.shards[0].lag_ms > 59 * MINUTE
    # Somebody who stops in the middle of it is found out.
    assert place.state() is State.STALLED


def test_worker_that_never_began(place: Place) -> None:
    """What nobody has read waits, unless reading is to begin at what comes after the first start."""
    assert place.state() is State.QUIET
    place.put()
    place.clock.advance(minutes=10)
    assert place.state() is State.STALLED
    place.start_at = StartAt.LATEST
    assert place.state() is State.QUIET


def test_first_start_at_latest_leaves_out_what_was_there(place: Place) -> None:
    """Before its first checkpoint a shard begun at LATEST waits only for what has come since its last flush."""
    place.start_at = StartAt.LATEST
    place.put(5)
    place.clock.advance(minutes=10)
    place.counted("")
    place.clock.advance(minutes=10)
    assert place.state() is State.QUIET
    place.put()
    place.clock.advance(minutes=3)
    assert place.state() is State.STALLED


def test_lineage(place: Place) -> None:
    """Children of a shard that is not read to its end wait for it; then it is done, and they must begin."""
    place.put()
    low, high = place.stream.split(ROOT)
    place.put(30)
    place.clock.advance(minutes=10)
    assert place.states() == {ROOT: State.STALLED, low: State.WAITS_FOR_PARENT, high: State.WAITS_FOR_PARENT}
    place.counted(SHARD_END)
    found = place.look()
    assert found.shards[0].state is State.DONE
    assert found.shards[0].facts.children == (low, high)
    assert found.shards[1].facts.parents == (ROOT,)
    # All records of one partition key are on one of the two.
    assert sorted(shard.state.value for shard in found.shards[1:]) == ["quiet", "stalled"]


def test_closed_shard_that_is_read_to_its_end_is_done(place: Place) -> None:
    """Lambda does not learn of a shard's end: that nothing is left in it is enough."""
    place.put(2)
    place.counted("2")
    place.stream.split(ROOT)
    place.clock.advance(hours=1)
    assert place.states()[ROOT] is State.DONE


def test_lost_shard_is_named(place: Place) -> None:
    """A shard that has left the stream with its watermark open was not read to its end."""
    place.counted("2", shard_id="shardId-000000000009")
    found = place.look()
    assert found.lost == ("shardId-000000000009",)
    assert "lost:" in shown(found)


def test_stream_that_was_made_anew(place: Place) -> None:
    """Checkpoints and watermarks of an earlier stream of the same name say nothing about this one."""
    place.store.write_watermark(Watermark(ROOT, place.clock(), True, place.incarnation - 1))
    place.store.write_checkpoint(ROOT, Checkpoint(place.incarnation - 1, SHARD_END))
    place.put()
    place.clock.advance(minutes=3)
    assert place.state() is State.STALLED


def test_leases(place: Place) -> None:
    """The lease's checkpoint counts as our own does, its owner is shown, and so is whether it is being renewed."""
    place.put(3)
    place.counted("1", as_of=place.clock())
    place.leases[ROOT] = Lease("machine-7", 41, "3")
    place.clock.advance(seconds=130)

    def renewed(seconds: float) -> None:
        place.clock.advance(seconds=seconds)
        place.leases[ROOT] = Lease("machine-7", 42, "3")

    found = place.watcher(renewed).look_twice()
    assert found.healthy
    assert found.shards[0].renewed == place.clock()
    assert "machine-7" in shown(found)
    assert found.shards[0].facts.checkpoint == "3"
    place.leases[ROOT] = Lease("", 42, "TRIM_HORIZON")
    assert place.look().shards[0].facts.checkpoint == "1"
    assert "no owner" in shown(place.look())


class Empty(MemoryStream):
    """Answers with nothing a few times before it gives records, as Kinesis may."""

    empty = 0

    def read(self, iterator: str, limit: int) -> RecordBatch:
        if self.empty:
            self.empty -= 1
            return RecordBatch([], iterator, 90_000)
        return super().read(iterator, limit)


@pytest.mark.parametrize("empty", [3, 1_000])
def test_empty_answers_are_not_taken_for_the_end(clock: FakeClock, empty: int) -> None:
    """As long as Kinesis says that there is more, it is asked again; in the end it is believed."""
    stream = Empty(clock)
    stream.put([OutRecord("b001", b"")])
    arrived = clock()
    clock.advance(seconds=90)
    stream.empty = empty
    waiting = find_backlog(stream, ROOT, None, not_before=0, now=clock(), sleep=lambda _: None)
    assert waiting == Backlog(arrived, False)


def test_stream_that_is_busy_is_asked_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard gives five reads a second: when its worker has taken them all, status waits instead of giving up."""
    place.put()
    place.counted("1")
    failures = iter([True, True, False, True, False])
    read = place.stream.read

    def busy(iterator: str, limit: int) -> RecordBatch:
        if next(failures, False):
            raise StreamUnavailable("busy")
        return read(iterator, limit)

    monkeypatch.setattr(place.stream, "read", busy)
    assert place.state() is State.UP_TO_DATE
    place.stream.down = True
    with pytest.raises(StreamUnavailable):
        place.look()


def shown(found: StreamStatus) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(screen(found, stream="shop", generation=1, limit_ms=LIMIT_MS))
    return console.export_text()


def test_dead_letters_are_counted(place: Place) -> None:
    """How many, up to a hundred."""
    records = [DeadLetter(ROOT, f"m{n:03d}", "magic", "", b"", 0, 0) for n in range(120)]
    place.store.write_dead_letters(records[:2])
    assert "2 dead letters" in shown(place.look())
    place.store.write_dead_letters(records)
    assert as_json(place.look(), stream="shop", generation=1)["dead_letters_is_at_least"] is True
    assert "100 or more dead letters" in shown(place.look())


def test_json_is_complete(place: Place) -> None:
    """A monitor gets every value as a number or a word."""
    place.put()
    place.counted("1")
    place.leases[ROOT] = Lease("me", 4, "1")
    values = as_json(place.look(), stream="shop", generation=2)
    now = place.clock()
    assert json.loads(json.dumps(values)) == {
        "checked_at": now,
        "watched_ms": 4_000,
        "healthy": True,
        "stream": "shop",
        "generation": 2,
        "dead_letters": 0,
        "dead_letters_is_at_least": False,
        "lost_shards": [],
        "disk": None,
        "shards": [
            {
                "shard": ROOT,
                "parents": [],
                "children": [],
                "closed": False,
                "state": "up to date",
                "lag_ms": 0,
                "waiting_since": None,
                "counted_up_to": now - 4_000,
                "last_flush": now - 4_000,
                "checkpoint": "1",
                "checkpoint_written_at": None,
                "lease": {"owner": "me", "counter": 4, "renewed_at": None},
            }
        ],
    }


def test_time_in_a_sequence_number() -> None:
    """In a number of AWS's own documentation the second of its arrival is found; those of local stacks hold none."""
    documented = "49590338271490256608559692538361571095921575989136588898"
    now = 1_790_000_000_000
    assert written_at(documented, now) == 1_545_084_650_000
    assert [written_at(number, now) for number in ("1", "000000017953909951570000000003", SHARD_END, "")] == [None] * 4
    assert written_at(documented, 1_545_000_000_000 - 86_400_000) is None


def test_ages() -> None:
    """Times are said in a unit that fits."""
    assert [duration_text(ms) for ms in (0, 1_499, 119_000, 125_000, 7_300_000, 2 * 86_400_000)] == [
        "0 s", "1 s", "119 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip


# --- the command, on local AWS stacks ------------------------------------------------------------------------------


def run(environ: dict[str, str], *options: str) -> tuple[int, str, str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    quick = {"LIVEINSIGHT_SESSIONS_INTERVAL": "0.3"}
    done = subprocess.run(
        [sys.executable, "-m", "liveinsight", "status", *options],
        env={**base, **environ, **quick, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def put(stream: Stream, events: int) -> None:
    now = system_clock()
    new = [an_event(at=now, visitor=number, event_id=number) for number in range(1, events + 1)]
    stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in new])


def count_all(settings: Settings, stream: Stream, store: Store, enough: Callable[[], bool]) -> None:
    """Let a worker run in this process until there is enough, and drain it."""
    stop = threading.Event()
    worker = worker_of(
        settings, stream, store, 1, threads_of(settings, stream, store, system_clock, poll_interval=0.05)
    )
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        eventually(enough)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.05)


def run_until_unhealthy(environ: dict[str, str], *options: str) -> tuple[int, str, str]:
    """Run it until what waits is older than its limit."""
    eventually(lambda: run(environ, *options)[0] == 1)
    return run(environ, *options)


OpenAws = Callable[[Settings], tuple[Stream, Store]]


def test_exit_codes(environ: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    """1 while records wait and nobody counts them, 0 when they are counted, 2 when it cannot be told."""
    stream, store = open_stream(settings), open_store(settings)
    nothing = {"LIVEINSIGHT_DATA_DIR": str(tmp_path / "nothing")}
    put(stream, 20)
    code, out, err = run_until_unhealthy(environ, "--json", "--limit", "1")
    assert (code, err) == (1, "")
    assert {shard["state"] for shard in json.loads(out)["shards"]} == {"stalled"}
    assert run(environ, "--limit", "600")[0] == 0
    count_all(settings, stream, store, lambda: len(store.load_checkpoints()) == 2)
    code, out, err = run(environ)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "healthy"
    assert out.count("up to date") == 2
    code, out, err = run({**environ, "LIVEINSIGHT_TABLE_PREFIX": "elsewhere", **nothing})
    assert (code, out) == (2, "")
    assert "liveinsight init" in err
    assert run({**environ, "LIVEINSIGHT_STREAM": "elsewhere", **nothing})[0] == 2
    assert run(environ, "--limit", "soon")[0] == 2


def test_watch(environ: dict[str, str], settings: Settings) -> None:
    """With --watch and --json a line comes every so often, until Ctrl-C, and the exit code is that of the last look."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "liveinsight", "status", "--watch", "0.2", "--json"],
        env={**base, **environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
    assert looks[0]["checked_at"] < looks[1]["checked_at"] < looks[2]["checked_at"]
    assert all(look["healthy"] for look in looks)


def test_generations(aws_environ: dict[str, str], aws: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status is about the generation that is written now, unless another one is asked for."""
    for name, value in aws_environ.items():
        monkeypatch.setenv(name, value)
    stores = open_generations(aws)
    pointer, version = load_versioned_pointer(stores(1))
    save_pointer(stores(1), switched(pointer, 2, 20_260_101, 1), version)
    code, _, err = run(aws_environ)
    assert code == 2
    assert "liveinsight init" in err
    code, out, _ = run(aws_environ, "--generation", "1", "--json")
    assert code == 0
    assert json.loads(out)["generation"] == 1


@pytest.fixture
def leases_of(aws: Settings) -> Iterator[Callable[[list[dict[str, Any]]], dict[str, Lease]]]:
    """Makes the library's table with these rows, and reads them."""
    client = dynamodb_client(aws)
    table = lease_table(aws.table_prefix)

    def make(rows: list[dict[str, Any]]) -> dict[str, Lease]:
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for row in rows:
            client.put_item(TableName=table, Item=row)
        return read_leases(client, table)

    yield make
    client.close()


def test_lease_table(
    aws_environ: dict[str, str],
    aws: Settings,
    leases_of: Callable[[list[dict[str, Any]]], dict[str, Lease]],
) -> None:
    """Leases are read, the library's other rows are not; without a table there are none; the screen shows the owner."""
    assert read_leases(dynamodb_client(aws), lease_table(aws.table_prefix)) == {}
    rows = [
        {
            "leaseKey": {"S": ROOT},
            "leaseOwner": {"S": "machine-7"},
            "leaseCounter": {"N": "12"},
            "checkpoint": {"S": "TRIM_HORIZON"},
            "ownerSwitchesSinceCheckpoint": {"N": "0"},
        },
        {"leaseKey": {"S": "shardId-000000000001"}, "leaseCounter": {"N": "0"}, "checkpoint": {"S": SHARD_END}},
        {"leaseKey": {"S": "Migration3.0"}, "entityType": {"S": "COORDINATOR_STATE"}},
    ]
    expected = {ROOT: Lease("machine-7", 12, "TRIM_HORIZON"), "shardId-000000000001": Lease("", 0, SHARD_END)}
    assert leases_of(rows) == expected
    code, out, _ = run(aws_environ)
    assert code == 0
    assert "machine-7" in out
    assert "no owner" in out


def test_on_the_faithful_pair(
    kinesis_mock: KinesisMock, dynamodb_local: DynamoDBLocal, aws_environ: dict[str, str], open_aws: OpenAws
) -> None:
    """On kinesis-mock and DynamoDB Local: a split is shown from both sides, times are read from sequence numbers, and
    when all is counted nothing waits."""
    environ = {
        **aws_environ,
        "AWS_ENDPOINT_URL_KINESIS": kinesis_mock.url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local.url,
        "LIVEINSIGHT_SHARDS": "1",
    }
    settings = Settings.from_env(environ)
    initialise(settings)
    stream, store = open_aws(settings)
    put(stream, 10)
    client = kinesis_client(settings, attempts=3)
    client.split_shard(StreamName=settings.stream_name, ShardToSplit=ROOT, NewStartingHashKey=str(1 << 127))
    eventually(lambda: len(stream.shards()) == 3)
    put(stream, 30)
    code, out, _ = run_until_unhealthy(environ, "--json", "--limit", "1")
    shards = json.loads(out)["shards"]
    assert code == 1
    assert [shard["state"] for shard in shards] == ["stalled", "waits for parent", "waits for parent"]
    assert shards[0]["children"] == [shard["shard"] for shard in shards[1:]]
    assert [shard["parents"] for shard in shards] == [[], [ROOT], [ROOT]]
    count_all(settings, stream, store, lambda: len(store.load_checkpoints()) == 3)
    code, out, _ = run(environ, "--json")
    shards = json.loads(out)["shards"]
    assert code == 0
    assert [(shard["state"], shard["lag_ms"]) for shard in shards] == [("done", 0)] + [("up to date", 0)] * 2
    now = datetime.now(UTC).timestamp() * 1000
    assert all(abs(shard["checkpoint_written_at"] - now) < 120_000 for shard in shards[1:])


def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """A monitor's author finds all three in --help."""
    assert main(["status", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Exit code 0: healthy. 1: unhealthy" in text
    assert "2: wrong usage" in text
