"""The Kinesis Client Library itself (its Java daemon) drives our record processor, on kinesis-mock and DynamoDB Local.

All tests work on one stream and one lease table, whatever order they run in: a first start of the library takes half
a minute, a later one seconds. Each puts events, does something to the workers, and holds the stored counters to a
recount of all that is on the stream (`liveinsight verify`).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from liveinsight.aws.clients import dynamodb_client, kinesis_client
from liveinsight.aws.kcl_tables import coordinator_table, lease_table
from liveinsight.bootstrap import initialise
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import SHARD_END
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import an_event
from liveinsight.testing.expected import dead_letters_in
from liveinsight.testing.resharding_stack import DynamoDBLocal, KinesisMock
from liveinsight.wiring import open_store, open_stream
from processor.kcl.exit_codes import CRASHED, DAEMON_FAILED, DRAINED
from processor.kcl.java import find_jars, find_java
from processor.verify.stream_reader import StreamReader
from tests.seeds import draw_seed

pytestmark = pytest.mark.kcl

QUICK = {
    "failoverTimeMillis": "3000",
    "leaseAssignmentIntervalMillis": "1000",
    "shardSyncIntervalMillis": "500",
    "workerMetricsReporterFreqInMillis": "2000",
    "parentShardPollIntervalMillis": "1000",
    "idleTimeBetweenReadsInMillis": "200",
}
"""The library's own cadences, which are made for fleets."""
FAULTS = Path(__file__).parent / "faults"
PAGES = [f"/page/{n}" for n in range(30)]


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, f"did not happen in {seconds:g} s: {what}"
        time.sleep(0.1)


class Place:
    """A stream of four shards, its tables, and all that was put."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.settings = Settings.from_env(environ)
        initialise(self.settings)
        self.stream, self.store = open_stream(self.settings), open_store(self.settings)
        self.kinesis = kinesis_client(self.settings, attempts=3)
        self.dynamo = dynamodb_client(self.settings)
        self.rng = random.Random(draw_seed())
        self._lock = threading.Lock()
        self._event_ids = count(1)
        self.events = 0
        self.records = 0

    def put(self, events: int, *, per_record: int = 20, visitors: int = 500) -> None:
        """Page views of some visitors, each record with those of one."""
        records = []
        while events > 0:
            visitor = self.rng.randrange(visitors)
            views = [
                an_event(
                    at=system_clock(), visitor=visitor, event_id=next(self._event_ids), page=self.rng.choice(PAGES)
                )
                for _ in range(min(per_record, events))
            ]
            events -= len(views)
            records.append((len(views), OutRecord(partition_key(visitor), encode_record(views))))
        for at in range(0, len(records), 200):
            part = records[at : at + 200]
            outcomes = self.stream.put([record for _, record in part])
            with self._lock:
                self.records += sum(1 for outcome in outcomes if outcome.sequence_number)
                self.events += sum(n for (n, _), outcome in zip(part, outcomes, strict=True) if outcome.sequence_number)

    def put_undecodable(self) -> None:
        """A record that is nothing of ours."""
        assert self.stream.put([OutRecord("b000", b"poison")])[0].sequence_number
        self.records += 1

    @contextmanager
    def load(self) -> Iterator[None]:
        """Events all the time, some hundred a second."""
        done = threading.Event()

        def run() -> None:
            while not done.wait(0.2):
                self.put(60, per_record=6)

        thread = threading.Thread(target=run, name="load")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def counted(self) -> int:
        """Page views in the totals."""
        quarter = quarter_of(system_clock())
        rows = self.store.read_totals("default", quarter - 4, quarter).rows
        return sum(item.measures.get("pageviews", 0) for _, item in rows)

    def wait_until_counted(self, worker: Worker) -> None:
        """Until counters have all that was put; the worker must live."""
        eventually(lambda: worker.ended or self.counted() >= self.events, 120, "all counted")
        assert not worker.ended

    def wait_for_more(self, events: int = 100) -> None:
        """Until counters move: then records are in every stage."""
        before = self.counted()
        eventually(lambda: self.counted() >= before + events, 120, f"more than {before} counted")

    def leases(self) -> dict[str, dict[str, str]]:
        """The lease table's rows by shard, without types; none before the library's first start."""
        try:
            answer = self.dynamo.scan(TableName=lease_table(self.settings.table_prefix), ConsistentRead=True)
        except self.dynamo.exceptions.ResourceNotFoundException:
            return {}
        rows = [{name: str(next(iter(value.values()))) for name, value in item.items()} for item in answer["Items"]]
        return {row["leaseKey"]: row for row in rows}

    def shards_of(self, worker: Worker) -> set[str]:
        """The shards whose leases a worker holds, without those that ended."""
        rows = self.leases().items()
        return {s for s, row in rows if row.get("leaseOwner") == worker.name and row["checkpoint"] != "SHARD_END"}

    def leader(self) -> str:
        """The worker that assigns leases to all."""
        answer = self.dynamo.scan(TableName=coordinator_table(lease_table(self.settings.table_prefix)))
        return next(item["ownerName"]["S"] for item in answer["Items"] if "ownerName" in item)

    def steal(self, shard: str) -> None:
        """Take a lease as another worker would, one that never works and whose lease runs out."""
        self.dynamo.update_item(
            TableName=lease_table(self.settings.table_prefix),
            Key={"leaseKey": {"S": shard}},
            UpdateExpression="SET leaseOwner = :thief ADD leaseCounter :one",
            ExpressionAttributeValues={":thief": {"S": "thief"}, ":one": {"N": "1"}},
        )

    def _open_ranges(self) -> list[tuple[int, int, str]]:
        return sorted(
            (
                int(shard["HashKeyRange"]["StartingHashKey"]),
                int(shard["HashKeyRange"]["EndingHashKey"]),
                shard["ShardId"],
            )
            for shard in self.kinesis.list_shards(StreamName="kcl")["Shards"]
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        )

    def open_shards(self) -> set[str]:
        """Ids of the shards that take records."""
        return {shard for _, _, shard in self._open_ranges()}

    def split(self) -> None:
        """Split the first open shard in the middle."""
        first, last, shard = self._open_ranges()[0]
        middle = str((first + last) // 2 + 1)
        self.kinesis.split_shard(StreamName="kcl", ShardToSplit=shard, NewStartingHashKey=middle)
        self._wait_until_active()

    def merge(self) -> None:
        """Merge the last two open shards."""
        (_, _, left), (_, _, right) = self._open_ranges()[-2:]
        self.kinesis.merge_shards(StreamName="kcl", ShardToMerge=left, AdjacentShardToMerge=right)
        self._wait_until_active()

    def _wait_until_active(self) -> None:
        def active() -> bool:
            summary = self.kinesis.describe_stream_summary(StreamName="kcl")["StreamDescriptionSummary"]
            return summary["StreamStatus"] == "ACTIVE"

        eventually(active, 20, "the stream is active")

    def last_sequence_numbers(self) -> dict[str, str]:
        """Of the last record in each shard that has any."""
        return {kept.shard_id: kept.record.sequence_number for kept in StreamReader(self.stream, system_clock).read()}

    def unread(self) -> dict[str, tuple[str, str]]:
        """Shards whose checkpoint is not at their last record."""
        leases = self.leases()
        checkpoints = {shard: leases.get(shard, {}).get("checkpoint", "") for shard in self.last_sequence_numbers()}
        return {
            shard: (checkpoints[shard], last)
            for shard, last in self.last_sequence_numbers().items()
            if checkpoints[shard] not in {last, "SHARD_END"}
        }

    def checkpointed(self) -> int:
        """Records that the checkpoints cover: those that no later start is given."""
        # The library deletes the leases of shards that ended long ago.
        points = dict.fromkeys((shard.shard_id for shard in self.stream.shards()), SHARD_END)
        points |= dict.fromkeys(self.open_shards(), "")
        points |= {shard: lease["checkpoint"] for shard, lease in self.leases().items()}

        def covers(checkpoint: str, sequence_number: str) -> bool:
            return checkpoint == SHARD_END or (checkpoint.isdigit() and int(sequence_number) <= int(checkpoint))

        kept = StreamReader(self.stream, system_clock).read()
        return sum(covers(points[one.shard_id], one.record.sequence_number) for one in kept)

    def assert_equal_to_the_recount(self) -> None:
        """No counter differs from a recount of the stream, and the recount was of all that was put."""
        assert self.counted() == self.events
        done = subprocess.run(
            [sys.executable, "-m", "liveinsight", "verify", "--json"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-2_000:]

    def status(self) -> dict[str, dict[str, Any]]:
        """What `liveinsight status` says of each shard; its exit code must call all of them well."""
        done = subprocess.run(
            [sys.executable, "-m", "liveinsight", "status", "--json"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {shard["shard"]: shard for shard in json.loads(done.stdout)["shards"]}

    def environment(self, **more: str) -> dict[str, str]:
        base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
        quick = {"LIVEINSIGHT_COUNTERS_INTERVAL": "0.1", "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3"}
        return {**base, **self.environ, **quick, **more}

    @contextmanager
    def worker(
        self, folder: Path, name: str = "worker", changes: Mapping[str, str] | None = None, **more: str
    ) -> Iterator[Worker]:
        """`liveinsight worker --runtime kcl`; killed at the end if it still runs, and its log shown on failure.

        With `TEST_FAULT` its children misbehave: see `faults/sitecustomize.py`. `changes` are the daemon's properties.
        """
        path = {"PYTHONPATH": str(FAULTS)} if "TEST_FAULT" in more else {}
        worker = Worker(folder / f"{name}.log", self.environment(**more, **path), {**QUICK, **(changes or {})})
        try:
            yield worker
        finally:
            worker.kill()
            print(worker.log.read_text(errors="replace")[-3_000:])


class Worker:
    """A running `liveinsight worker --runtime kcl`."""

    def __init__(self, log: Path, environ: dict[str, str], properties: Mapping[str, str]) -> None:
        self.log = log
        changes = [text for name, value in properties.items() for text in ("--kcl", f"{name}={value}")]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liveinsight", "worker", "--runtime", "kcl", *changes],
                env=environ,
                stdout=output,
                stderr=output,
            )

    def lines(self, action: str) -> list[dict[str, Any]]:
        """Log lines with this action, in order."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if f'"action": "{action}"' in line and line.startswith("{") and line.endswith("}"):
                found.append(json.loads(line))
        return found

    @property
    def daemon(self) -> int:
        return int(self.lines("begin")[0]["pid"])

    @property
    def name(self) -> str:
        """What the lease table calls it."""
        return str(self.lines("begin")[0]["worker"])

    def wait_for_shards(self, shards: int = 1) -> None:
        eventually(lambda: self.ended or len(self.lines("initialize")) >= shards, 180, f"{shards} shards begun")
        assert not self.ended

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Drain; gives the exit code."""
        self._process.send_signal(number)
        return self.wait()

    def stop_all(self) -> int:
        """SIGTERM to launcher, daemon and children at once, as systemd sends it; gives the exit code."""
        self._process.terminate()
        os.killpg(self.daemon, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(60)

    def kill_daemon(self) -> None:
        """The daemon and its children; the launcher lives on."""
        os.killpg(self.daemon, signal.SIGKILL)

    def kill(self) -> None:
        """Launcher, daemon and children at once, as a machine that loses its power."""
        self._process.kill()
        self._process.wait()
        for begun in self.lines("begin"):
            # The daemon has a process group of its own, and its children are in it.
            with_children = int(begun["pid"])
            with suppress(ProcessLookupError):
                os.killpg(with_children, signal.SIGKILL)

    def delivered(self) -> int:
        """Records that the daemon gave to processors that have ended."""
        return sum(line["records"] for line in self.lines("end") if "records" in line)

    def skipped(self) -> int:
        return sum(line["skipped"] for line in self.lines("end") if "skipped" in line)


@pytest.fixture(scope="module")
def place(kinesis_mock: KinesisMock, fresh_dynamodb_local: DynamoDBLocal) -> Place:
    try:
        find_java(os.environ)
        find_jars()
    except LiveInsightError as problem:
        if os.environ.get("CI") == "true":
            pytest.fail(str(problem))
        pytest.skip(str(problem))
    return Place(
        {
            "AWS_ENDPOINT_URL_KINESIS": kinesis_mock.url,
            "AWS_ENDPOINT_URL_DYNAMODB": fresh_dynamodb_local.url,
            "LIVEINSIGHT_STREAM": "kcl",
            "LIVEINSIGHT_TABLE_PREFIX": "kcl",
            "LIVEINSIGHT_SHARDS": "4",
        }
    )


def test_counts_everything_drains_and_goes_on(place: Place, tmp_path: Path) -> None:
    """20,000 events are counted as the recount counts them; a stop writes and checkpoints what was read, up to the
    last record; and the next start is given no record a second time. Checkpoints are rare here, so that there is
    much in memory only when the stop comes."""
    records_before, checkpointed_before = place.records, place.checkpointed()
    place.put(12_000)
    with place.worker(tmp_path, "first", LIVEINSIGHT_SESSIONS_INTERVAL="10") as first:
        first.wait_for_shards()
        place.put(8_000)
        place.wait_until_counted(first)
        with place.load():
            place.wait_for_more()
            kept = place.checkpointed()
            assert first.stop() == DRAINED
    assert len(first.lines("shutdown")) == 4
    drained = place.checkpointed()
    assert drained - checkpointed_before == first.delivered()
    print(f"stopped: {kept} records checkpointed before, {drained} after, {place.records - drained} not delivered yet")
    assert drained > kept
    with place.worker(tmp_path, "second") as second:
        second.wait_for_shards()
        place.wait_until_counted(second)
        eventually(lambda: not place.unread(), 20, "checkpoints at the end of all shards")
        shards = place.status()
        assert {shard["lag_ms"] for shard in shards.values()} == {0}
        assert {shard["lease"]["owner"] for shard in shards.values()} == {second.name}
        assert second.stop(signal.SIGINT) == DRAINED
    delivered = first.delivered() + second.delivered()
    twice = delivered - (place.records - records_before)
    print(f"{place.records} records put, {delivered} delivered, {twice} of them twice")
    assert twice == 0
    assert first.skipped() + second.skipped() == 0
    assert place.unread() == {}
    place.assert_equal_to_the_recount()


@pytest.mark.parametrize("what", ["machine", "leader's daemon"])
def test_one_of_two_workers_is_killed(place: Place, tmp_path: Path, what: str) -> None:
    """When a daemon and its children die in the middle of their work, the other worker takes their shards over, and
    nothing is left out or counted twice. With its launcher alive the daemon may even be the leader, which alone assigns
    shards: the launcher takes away the lock that would hold for two minutes, and ends with the code --help names."""
    with place.worker(tmp_path, "one") as one, place.worker(tmp_path, "other") as other:
        with place.load():
            one.wait_for_shards()
            other.wait_for_shards()
            place.wait_for_more()
            leader, follower = (one, other) if place.leader() == one.name else (other, one)
            victim, survivor = (follower, leader) if what == "machine" else (leader, follower)
            lost = place.shards_of(victim)
            assert lost
            began = time.monotonic()
            if what == "machine":
                victim.kill()
            else:
                victim.kill_daemon()
                assert victim.wait() == DAEMON_FAILED
                assert "leadership given up" in victim.log.read_text()
            eventually(lambda: lost <= place.shards_of(survivor), 100, "the survivor has all shards")
            print(f"{len(lost)} shards taken over {time.monotonic() - began:.1f} s after the kill of the {what}")
            place.wait_for_more()
        place.wait_until_counted(survivor)
        assert survivor.stop() == DRAINED
    place.assert_equal_to_the_recount()


def test_a_lease_is_stolen_while_a_flush_is_in_progress(place: Place, tmp_path: Path) -> None:
    """A worker that loses its shard between the counters' writes and the visitors' cannot move the checkpoint, goes
    on as a zombie until it is told, and whoever comes next counts nothing twice."""
    marker = tmp_path / "in-flush"
    fault = {"TEST_FAULT": "slow_flush", "TEST_FAULT_MARKER": str(marker), "LIVEINSIGHT_SESSIONS_INTERVAL": "2"}
    with place.worker(tmp_path, "worker", None, **fault) as worker:
        with place.load():
            worker.wait_for_shards(4)
            stolen = 0
            for shard in sorted(place.shards_of(worker)):
                eventually(marker.exists, 20, "a flush between its stages")
                place.steal(shard)
                stolen += 1
            assert stolen >= 2
            eventually(lambda: len(worker.lines("lease_lost")) >= stolen, 60, "the worker notices")
            eventually(lambda: len(worker.lines("initialize")) >= 4 + stolen, 120, "the shards come back")
            place.wait_for_more()
        place.wait_until_counted(worker)
        assert worker.stop() == DRAINED
    refused = len(worker.lines("checkpoint_refused"))
    print(f"{stolen} stolen, {refused} checkpoints refused, {worker.skipped()} events skipped")
    assert refused
    place.assert_equal_to_the_recount()


def test_shards_are_split_and_merged(place: Place, tmp_path: Path) -> None:
    """Under load, each new shard begins after all of its parents were read to their ends, and nothing is lost."""
    with place.worker(tmp_path) as worker:
        with place.load():
            worker.wait_for_shards(4)
            before = {shard.shard_id for shard in place.stream.shards()}
            place.wait_for_more()
            place.split()
            place.wait_for_more()
            place.merge()
            new = [shard for shard in place.stream.shards() if shard.shard_id not in before]
            assert len(new) == 3
            eventually(
                lambda: {shard.shard_id for shard in new} <= {line["shard"] for line in worker.lines("initialize")},
                120,
                "the new shards begin",
            )
            place.wait_for_more()
        place.wait_until_counted(worker)
        told = place.status()
        assert {shard.shard_id: told[shard.shard_id]["parents"] for shard in new} == {
            shard.shard_id: list(shard.parents) for shard in new
        }
        assert all(told[parent]["state"] == "done" for shard in new for parent in shard.parents if parent in told)
        assert worker.stop() == DRAINED
    begun = {line["shard"]: line["time"] for line in worker.lines("initialize")}
    ended = {line["shard"]: line["time"] for line in worker.lines("shard_ended")}
    for shard in new:
        assert shard.parents
        for parent in shard.parents:
            assert ended[parent] <= begun[shard.shard_id], f"{shard.shard_id} began before the end of {parent}"
            # The library deletes what it no longer needs.
            assert place.leases().get(parent, {}).get("checkpoint", "SHARD_END") == "SHARD_END"
    place.assert_equal_to_the_recount()


def test_a_batch_raises(place: Place, tmp_path: Path) -> None:
    """An error in the processor ends the worker with the exit code that --help names, before the batch is
    checkpointed, and the next start counts it; an undecodable record becomes a dead letter, and its shard goes on."""
    marker = tmp_path / "raised-at"
    place.put_undecodable()
    with place.worker(tmp_path, TEST_FAULT="raise_once", TEST_FAULT_MARKER=str(marker)) as worker:
        worker.wait_for_shards()
        place.put(4_000)
        assert worker.wait() == CRASHED
    (failure,) = worker.lines("shard_failed")
    assert "a mistake of ours" in failure["exception"]
    _, shard, position, _ = marker.read_text().split("/")
    checkpoint = place.leases()[shard]["checkpoint"]
    assert not checkpoint.isdigit() or int(checkpoint) < int(position[3:])
    with place.worker(tmp_path, "after") as after:
        after.wait_for_shards()
        place.wait_until_counted(after)
        eventually(lambda: not place.unread(), 20, "checkpoints at the end of all shards")
        assert after.stop() == DRAINED
    assert [record.data for record in dead_letters_in(place.store)] == [b"poison"]
    place.assert_equal_to_the_recount()


def test_whatever_is_printed_the_protocol_survives(place: Place, tmp_path: Path) -> None:
    """print(), writes to the file descriptor of stdout that look like answers to the daemon, long lines, a chatty
    dependency and logging at DEBUG all end up in the log."""
    with place.worker(tmp_path, TEST_FAULT="chatty", LIVEINSIGHT_LOG_LEVEL="DEBUG") as worker:
        worker.wait_for_shards()
        place.put(2_000)
        place.wait_until_counted(worker)
        eventually(lambda: not place.unread(), 20, "checkpoints at the end of all shards")
        assert worker.stop_all() == DRAINED
    log = worker.log.read_text(errors="replace")
    assert {"half a line and its rest", "x" * 100_000} <= {line["text"] for line in worker.lines("print")}
    assert '\n{"action": "checkpoint", "sequenceNumber": null' in log
    assert "noise" in log
    assert '"level": "DEBUG", "logger": "botocore' in log
    assert "Skipping unexpected line" not in log
    place.assert_equal_to_the_recount()


def test_a_child_hangs(place: Place, tmp_path: Path) -> None:
    """Leases of a child that hangs are renewed all the same: `timeoutInSeconds` ends the worker, hung child and all,
    and the next start counts what it had not."""
    marker = tmp_path / "hangs"
    fault = {"TEST_FAULT": "hang_once", "TEST_FAULT_MARKER": str(marker)}
    with place.worker(tmp_path, changes={"timeoutInSeconds": "15"}, **fault) as worker:
        worker.wait_for_shards()
        place.put(2_000)
        assert worker.wait() == DAEMON_FAILED
    assert marker.exists()
    eventually(lambda: not Path(f"/proc/{marker.read_text()}").exists(), 10, "the child is gone, too")
    with place.worker(tmp_path, "after") as after:
        after.wait_for_shards()
        place.wait_until_counted(after)
        assert after.stop() == DRAINED
    place.assert_equal_to_the_recount()


def test_a_shards_end_fails(place: Place, tmp_path: Path) -> None:
    """The library would wait for ever for the end of a shard whose processor failed at it: the worker ends instead, no
    end is checkpointed, no child begins, and the next start goes on through it."""
    with place.worker(tmp_path, TEST_FAULT="fail_at_end") as worker:
        worker.wait_for_shards(len(place.open_shards()))
        place.put(1_000)
        before = place.open_shards()
        place.split()
        (parent,), new = before - place.open_shards(), place.open_shards() - before
        assert worker.wait() == CRASHED
    assert "a mistake at the end" in worker.lines("shard_failed")[0]["exception"]
    assert place.leases()[parent]["checkpoint"] != "SHARD_END"
    assert not new & {line["shard"] for line in worker.lines("initialize")}
    with place.worker(tmp_path, "after") as after:
        eventually(lambda: new <= {line["shard"] for line in after.lines("initialize")}, 120, "the new shards begin")
        place.put(1_000)
        place.wait_until_counted(after)
        assert after.stop() == DRAINED
    assert parent in {line["shard"] for line in after.lines("shard_ended")}
    place.assert_equal_to_the_recount()
