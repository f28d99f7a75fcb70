"""The Kinesis Client Library itself (its Java daemon) drives our record processor, on kinesis-mock and DynamoDB Local.

All tests work on one stream and one lease table, whatever order they run in: a first start of the library takes half
a minute, a later one seconds. Each puts events, does something to the workers, and holds the stored counters to a
recount of all that is on the stream (`liveinsight verify`).
"""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from liveinsight.devstack.loopback import free_port
from liveinsight.model.errors import LiveInsightError
from liveinsight.testing.expected import dead_letters_in
from liveinsight.testing.resharding_stack import DynamoDBLocal, KinesisMock
from processor.kcl.exit_codes import CRASHED, DAEMON_FAILED, DRAINED
from processor.kcl.java import find_jars, find_java
from tests.processor.kcl.kcl_deployment import Deployment
from tests.processor.kcl.kcl_worker import Worker, eventually

pytestmark = pytest.mark.kcl


@pytest.fixture(scope="module")
def deployment(kinesis_mock: KinesisMock, fresh_dynamodb_local: DynamoDBLocal) -> Deployment:
    try:
        find_java(os.environ)
        find_jars()
    except LiveInsightError as problem:
        if os.environ.get("CI") == "true":
            pytest.fail(str(problem))
        pytest.skip(str(problem))
    return Deployment(
        {
            "AWS_ENDPOINT_URL_KINESIS": kinesis_mock.url,
            "AWS_ENDPOINT_URL_DYNAMODB": fresh_dynamodb_local.url,
            "LIVEINSIGHT_STREAM": "kcl",
            "LIVEINSIGHT_TABLE_PREFIX": "kcl",
            "LIVEINSIGHT_SHARDS": "4",
        }
    )


# --- start and stop --------------------------------------------------------------------------------------------------


def test_counts_everything_drains_and_goes_on(deployment: Deployment, tmp_path: Path) -> None:
    """A stop writes and checkpoints all that was read, and the next start is given no record a second time.

    Checkpoints are rare here, so that there is much in memory only when the stop comes.
    """
    records_before, checkpointed_before = deployment.records, deployment.checkpointed()
    deployment.put(12_000)
    port = str(free_port())
    with deployment.worker(
        tmp_path, "first", LIVEINSIGHT_SESSIONS_INTERVAL="10", LIVEINSIGHT_METRICS_PORT=port
    ) as first:
        first.wait_for_shards()
        deployment.put(8_000)
        deployment.wait_until_counted(first)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        assert (
            float(metrics.partition("\nliveinsight_worker_records_total ")[2].split()[0])
            == deployment.records - records_before
        )
        assert metrics.count("\nliveinsight_worker_lag_milliseconds{") == 4
        with deployment.load():
            deployment.wait_for_more()
            checkpointed = deployment.checkpointed()
            assert first.stop() == DRAINED
    assert len(first.lines("shutdown")) == 4
    assert deployment.checkpointed() > checkpointed
    assert deployment.checkpointed() - checkpointed_before == first.delivered()
    with deployment.worker(tmp_path, "second") as second:
        second.wait_for_shards()
        deployment.wait_until_counted(second)
        deployment.wait_until_checkpointed()
        shards = deployment.status().values()
        assert {shard["lag_ms"] for shard in shards} == {0}
        assert {shard["lease"]["owner"] for shard in shards} == {second.name}
        assert second.stop(signal.SIGINT) == DRAINED
    assert first.delivered() + second.delivered() == deployment.records - records_before
    assert first.skipped() + second.skipped() == 0
    deployment.assert_equal_to_the_recount()


# --- workers that lose their shards ----------------------------------------------------------------------------------


def test_machine_of_one_of_two_workers_fails(deployment: Deployment, tmp_path: Path) -> None:
    """The other worker takes its shards over; nothing is left out or counted twice."""
    with deployment.worker(tmp_path, "one") as one, deployment.worker(tmp_path, "other") as other:
        with deployment.load():
            leader, follower = leader_and_follower(deployment, one, other)
            lost = deployment.shards_of(follower)
            follower.kill()
            wait_for_takeover(deployment, lost, leader)
        deployment.wait_until_counted(leader)
        assert leader.stop() == DRAINED
    deployment.assert_equal_to_the_recount()


def test_daemon_of_the_leader_fails(deployment: Deployment, tmp_path: Path) -> None:
    """Only the leader assigns shards. Its launcher takes away the lock that would hold for two minutes, and ends with
    the code that --help names; the other worker takes its shards over."""
    with deployment.worker(tmp_path, "one") as one, deployment.worker(tmp_path, "other") as other:
        with deployment.load():
            leader, follower = leader_and_follower(deployment, one, other)
            lost = deployment.shards_of(leader)
            leader.kill_daemon()
            assert leader.wait() == DAEMON_FAILED
            assert "leadership given up" in leader.log.read_text()
            wait_for_takeover(deployment, lost, follower)
        deployment.wait_until_counted(follower)
        assert follower.stop() == DRAINED
    deployment.assert_equal_to_the_recount()


def leader_and_follower(deployment: Deployment, one: Worker, other: Worker) -> tuple[Worker, Worker]:
    """The two workers, at work on shards of their own."""
    one.wait_for_shards()
    other.wait_for_shards()
    deployment.wait_for_more()
    return (one, other) if deployment.leader() == one.name else (other, one)


def wait_for_takeover(deployment: Deployment, shards: set[str], worker: Worker) -> None:
    """Until the worker has these shards, and counts."""
    assert shards
    began = time.monotonic()
    eventually(lambda: shards <= deployment.shards_of(worker), 100, "the survivor has all shards")
    print(f"{len(shards)} shards taken over in {time.monotonic() - began:.1f} s")
    deployment.wait_for_more()


def test_lease_is_stolen_during_a_flush(deployment: Deployment, tmp_path: Path) -> None:
    """A worker that loses its shard between the writes of counters and visitors cannot move the checkpoint.

    It goes on as a zombie until it is told, and whoever comes next counts nothing twice.
    """
    in_flush = tmp_path / "in-flush"
    fault = {"TEST_FAULT": "slow_flush", "TEST_FAULT_MARKER": str(in_flush), "LIVEINSIGHT_SESSIONS_INTERVAL": "2"}
    with deployment.worker(tmp_path, "worker", None, **fault) as worker:
        with deployment.load():
            worker.wait_for_shards(4)
            shards = sorted(deployment.shards_of(worker))
            assert len(shards) >= 2
            for shard in shards:
                eventually(in_flush.exists, 20, "a flush between its stages")
                deployment.steal(shard)
            eventually(lambda: len(worker.lines("lease_lost")) >= len(shards), 60, "the worker notices")
            worker.wait_for_shards(4 + len(shards))
            deployment.wait_for_more()
        deployment.wait_until_counted(worker)
        assert worker.stop() == DRAINED
    assert worker.lines("checkpoint_refused")
    deployment.assert_equal_to_the_recount()


# --- reshards --------------------------------------------------------------------------------------------------------


def test_shards_are_split_and_merged(deployment: Deployment, tmp_path: Path) -> None:
    """Under load, each new shard begins after all of its parents were read to their ends, and nothing is lost."""
    with deployment.worker(tmp_path) as worker:
        with deployment.load():
            worker.wait_for_shards(4)
            before = {shard.shard_id for shard in deployment.stream.shards()}
            deployment.wait_for_more()
            deployment.split()
            deployment.wait_for_more()
            deployment.merge()
            parents = {s.shard_id: s.parents for s in deployment.stream.shards() if s.shard_id not in before}
            assert len(parents) == 3
            worker.wait_for(parents)
            deployment.wait_for_more()
        deployment.wait_until_counted(worker)
        shown = deployment.status()
        assert {shard: tuple(shown[shard]["parents"]) for shard in parents} == parents
        of_parents = [shown[parent]["state"] for each in parents.values() for parent in each if parent in shown]
        assert set(of_parents) <= {"done"}
        assert worker.stop() == DRAINED
    begun, finished = worker.begun(), worker.finished()
    for shard, its_parents in parents.items():
        assert its_parents
        assert max(finished[parent] for parent in its_parents) <= begun[shard], f"{shard} began too early"
        # The library deletes the leases that it no longer needs.
        leases = [deployment.leases().get(parent) for parent in its_parents]
        assert {lease["checkpoint"] for lease in leases if lease} <= {"SHARD_END"}
    deployment.assert_equal_to_the_recount()


def test_a_shards_end_fails(deployment: Deployment, tmp_path: Path) -> None:
    """The library would wait for ever for the end of a shard whose processor failed at it: the worker ends instead.

    No end is checkpointed, no child begins, and the next start goes on through it.
    """
    with deployment.worker(tmp_path, TEST_FAULT="fail_at_end") as worker:
        worker.wait_for_shards(len(deployment.open_shards()))
        deployment.put(1_000)
        before = deployment.open_shards()
        deployment.split()
        (parent,), children = before - deployment.open_shards(), deployment.open_shards() - before
        assert worker.wait() == CRASHED
    assert "a mistake at the end" in worker.lines("shard_failed")[0]["exception"]
    assert deployment.leases()[parent]["checkpoint"] != "SHARD_END"
    assert not children & set(worker.begun())
    with deployment.worker(tmp_path, "after") as after:
        after.wait_for(children)
        deployment.put(1_000)
        deployment.wait_until_counted(after)
        assert after.stop() == DRAINED
    assert parent in after.finished()
    deployment.assert_equal_to_the_recount()


# --- processors that fail --------------------------------------------------------------------------------------------


def test_a_batch_raises(deployment: Deployment, tmp_path: Path) -> None:
    """An error in the processor ends the worker before the batch is checkpointed, and the next start counts it.

    An undecodable record becomes a dead letter, and its shard goes on.
    """
    raised_at = tmp_path / "raised-at"
    deployment.put_undecodable()
    with deployment.worker(tmp_path, TEST_FAULT="raise_once", TEST_FAULT_MARKER=str(raised_at)) as worker:
        worker.wait_for_shards()
        deployment.put(4_000)
        assert worker.wait() == CRASHED
    (failure,) = worker.lines("shard_failed")
    assert "a mistake of ours" in failure["exception"]
    _, shard, position, _ = raised_at.read_text().split("/")
    checkpoint = deployment.leases()[shard]["checkpoint"]
    assert not checkpoint.isdigit() or int(checkpoint) < int(position[3:])
    deployment.count_the_rest(tmp_path)
    assert [record.data for record in dead_letters_in(deployment.store)] == [b"poison"]
    deployment.assert_equal_to_the_recount()


def test_a_child_hangs(deployment: Deployment, tmp_path: Path) -> None:
    """The leases of a child that hangs are still renewed: `timeoutInSeconds` ends the worker and the hung child.

    The next start counts what it had not.
    """
    hangs = tmp_path / "hangs"
    fault = {"TEST_FAULT": "hang_once", "TEST_FAULT_MARKER": str(hangs)}
    with deployment.worker(tmp_path, changes={"timeoutInSeconds": "15"}, **fault) as worker:
        worker.wait_for_shards()
        deployment.put(2_000)
        assert worker.wait() == DAEMON_FAILED
    child = Path(f"/proc/{hangs.read_text()}")
    eventually(lambda: not child.exists(), 10, "the child has ended, too")
    deployment.count_the_rest(tmp_path)
    deployment.assert_equal_to_the_recount()


def test_whatever_is_printed_the_protocol_survives(deployment: Deployment, tmp_path: Path) -> None:
    """Stdout is the daemon's wire. print(), writes to its file descriptor that look like answers to the daemon, long
    lines, a chatty dependency and logging at DEBUG all end up in the log."""
    with deployment.worker(tmp_path, TEST_FAULT="chatty", LIVEINSIGHT_LOG_LEVEL="DEBUG") as worker:
        worker.wait_for_shards()
        deployment.put(2_000)
        deployment.wait_until_counted(worker)
        deployment.wait_until_checkpointed()
        assert worker.stop_all() == DRAINED
    log = worker.log.read_text(errors="replace")
    assert {"half a line and its rest", "x" * 100_000} <= {line["text"] for line in worker.lines("print")}
    assert '\n{"action": "checkpoint", "sequenceNumber": null' in log
    assert "noise" in log
    assert '"level": "DEBUG", "logger": "botocore' in log
    assert "Skipping unexpected line" not in log
    deployment.assert_equal_to_the_recount()
