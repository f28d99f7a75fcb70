"""A stream of four shards, its tables, all that was put onto it, and what became of it.

Streams are on kinesis-mock, tables on DynamoDB Local.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from liveinsight.aws.clients import dynamodb_client, kinesis_client
from liveinsight.aws.kcl_tables import coordinator_table, lease_table
from liveinsight.bootstrap import initialise
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import SHARD_END
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import an_event
from liveinsight.wiring import open_store, open_stream
from processor.kcl.exit_codes import DRAINED
from processor.verify.stream_reader import StreamReader
from tests.processor.kcl.kcl_worker import QUICK, Worker, eventually
from tests.seeds import draw_seed

FAULTS = Path(__file__).parent / "faults"
PAGES = [f"/page/{n}" for n in range(30)]


class Deployment:
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

    def wait_until_checkpointed(self) -> None:
        """Until all shards have a checkpoint at their last record."""
        eventually(lambda: not self.unread(), 60, "checkpoints at the end of all shards")

    def count_the_rest(self, folder: Path) -> Worker:
        """Start the worker again, until it has counted and checkpointed all, and drain it."""
        with self.worker(folder, "after") as worker:
            worker.wait_for_shards()
            self.wait_until_counted(worker)
            self.wait_until_checkpointed()
            assert worker.stop() == DRAINED
        return worker

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
