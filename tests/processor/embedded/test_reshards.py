"""The embedded worker on a stream that is split and merged under load, as kinesis-mock does it and AWS does.

    producer  ==put=====put=====put=====put=====put=====put==>
    stream         split         split         merge
    worker    ----------------stop  start----kill  start------>

Whatever happens to shards and workers, the counters are equal to the number of events that were put.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from liveinsight.aws.clients import kinesis_client
from liveinsight.bootstrap import initialise
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import SHARD_END, Checkpoint, Store
from liveinsight.storage.stream import OutRecord, Stream
from liveinsight.testing.builders import an_event
from liveinsight.testing.resharding_stack import KinesisMock
from processor.embedded.shard_threads import ShardThreads
from processor.embedded.worker import Worker
from processor.shard.options import ProcessorOptions
from processor.shard.progress import Progress
from processor.shard.record_processor import RecordProcessor

QUICK = ProcessorOptions(counters_interval=0.1, sessions_interval=0.2)


class Place:
    """A fresh stream on kinesis-mock with fresh tables on MiniStack, and what the test does to them."""

    def __init__(self, environ: Mapping[str, str], open_both: Callable[[Settings], tuple[Stream, Store]]) -> None:
        self.environ = environ
        settings = Settings.from_env(environ)
        initialise(settings)
        self.stream, self.store = open_both(settings)
        self._client = kinesis_client(settings, attempts=3)
        self._name = settings.stream_name

    def counted(self) -> int:
        """Page views in the totals."""
        quarter = quarter_of(system_clock())
        rows = self.store.read_totals("default", quarter - 2, quarter).rows
        return sum(item.measures.get("pageviews", 0) for _, item in rows)

    def _open_ranges(self) -> list[tuple[int, int, str]]:
        shards = self._client.list_shards(StreamName=self._name)["Shards"]
        return sorted(
            (
                int(shard["HashKeyRange"]["StartingHashKey"]),
                int(shard["HashKeyRange"]["EndingHashKey"]),
                shard["ShardId"],
            )
            for shard in shards
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        )

    def split(self, rng: random.Random) -> None:
        """Split any open shard in the middle."""
        first, last, shard_id = rng.choice(self._open_ranges())
        middle = str((first + last) // 2 + 1)
        self._client.split_shard(StreamName=self._name, ShardToSplit=shard_id, NewStartingHashKey=middle)
        self._wait_until_active()

    def merge(self, rng: random.Random) -> None:
        """Merge any two open shards beside each other."""
        shard_ids = [shard_id for _, _, shard_id in self._open_ranges()]
        at = rng.randrange(len(shard_ids) - 1)
        self._client.merge_shards(
            StreamName=self._name, ShardToMerge=shard_ids[at], AdjacentShardToMerge=shard_ids[at + 1]
        )
        self._wait_until_active()

    def _wait_until_active(self) -> None:
        def active() -> bool:
            summary = self._client.describe_stream_summary(StreamName=self._name)["StreamDescriptionSummary"]
            return summary["StreamStatus"] == "ACTIVE"

        eventually(active)


class Load(threading.Thread):
    """Puts page views of ever new visitors, without a pause, until it is stopped."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(name="load")
        self._stream = stream
        self._done = threading.Event()
        self.taken = 0
        self.problems: list[str] = []

    def run(self) -> None:
        visitor = 0
        while not self._done.is_set():
            events = [an_event(at=system_clock(), visitor=visitor + n, event_id=visitor + n + 1) for n in range(20)]
            visitor += 20
            outcomes = self._stream.put([OutRecord(partition_key(e.visitor), encode_record([e])) for e in events])
            self.taken += sum(1 for outcome in outcomes if outcome.sequence_number)
            self.problems += [outcome.error for outcome in outcomes if outcome.error]
            self._done.wait(0.03)

    def finish(self) -> int:
        """Stop, and say how many events the stream has taken."""
        self._done.set()
        self.join(10)
        assert not self.is_alive()
        print(f"{self.taken} events taken, {len(self.problems)} refused {set(self.problems)}")
        return self.taken


class Witnessed(RecordProcessor):
    """A record processor that looks at the stored checkpoints when its shard begins."""

    def __init__(self, store: Store, incarnation: int, seen: dict[str, dict[str, Checkpoint]]) -> None:
        super().__init__(store, incarnation, QUICK, system_clock)
        self._witness_store = store
        self._seen = seen

    def initialize(self, shard_id: str, sequence_number: str) -> None:
        self._seen.setdefault(shard_id, self._witness_store.load_checkpoints())
        super().initialize(shard_id, sequence_number)


@contextmanager
def running(place: Place, seen: dict[str, dict[str, Checkpoint]]) -> Iterator[Worker]:
    """A worker in this process; it drains at the end, and its failure is the test's."""
    threads = ShardThreads(
        place.stream, place.store, lambda incarnation: Witnessed(place.store, incarnation, seen), poll_interval=0.05
    )
    worker = Worker(place.stream, place.store, threads)
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            worker.run(stop)
        except BaseException as error:  # noqa: BLE001 - it is looked at below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run, name="worker")
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        assert failures == []


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.05)


def wait_for_more(place: Place, events: int = 100) -> None:
    """Wait until the counters have moved: then records are in every stage of the pipeline."""
    before = place.counted()
    eventually(lambda: place.counted() >= before + events)


@pytest.fixture
def place(
    kinesis_mock: KinesisMock, aws_environ: dict[str, str], open_aws: Callable[[Settings], tuple[Stream, Store]]
) -> Place:
    return Place({**aws_environ, "AWS_ENDPOINT_URL_KINESIS": kinesis_mock.url}, open_aws)


@pytest.fixture
def load(place: Place) -> Iterator[Load]:
    thread = Load(place.stream)
    thread.start()
    yield thread
    thread.finish()


def test_split_and_merge_under_load(place: Place, load: Load, rng: random.Random) -> None:
    """Every event is counted once, whether it was put before, between or after reshards and a restart; no record is
    delivered twice over a drain; and a shard begins when the end of all its parents is stored, not earlier."""
    seen: dict[str, dict[str, Checkpoint]] = {}
    with running(place, seen) as first:
        wait_for_more(place)
        place.split(rng)
        wait_for_more(place)
        place.merge(rng)
        wait_for_more(place)
        place.split(rng)
    # Nobody reads now: the worker that comes finds a split half read, and a closed shard that it has not begun.
    place.split(rng)
    place.merge(rng)
    with running(place, seen) as second:
        wait_for_more(place)
        place.merge(rng)
        wait_for_more(place)
        put = load.finish()
        eventually(lambda: place.counted() >= put)
        eventually(lambda: len(seen) == len(place.stream.shards()))
    assert place.counted() == put
    progress = Progress.sum((first.progress, second.progress))
    assert (progress.records, progress.skipped) == (put, 0)
    parents = {shard.shard_id: shard.parents for shard in place.stream.shards()}
    assert sorted(seen) == sorted(parents)
    assert len(parents) == 2 + 3 * 2 + 3 * 1
    for shard_id, checkpoints in seen.items():
        ends = {parent: checkpoints[parent].sequence_number for parent in parents[shard_id] if parent in checkpoints}
        assert ends == dict.fromkeys(parents[shard_id], SHARD_END), shard_id


def test_killed_during_reshards(place: Place, load: Load, tmp_path: Path, rng: random.Random) -> None:
    """A worker that is killed while shards are split and merged leaves nothing out and nothing counted twice."""
    for reshard in (place.split, place.split, place.merge):
        with a_worker_process(place, tmp_path) as process:
            wait_for_more(place)
            reshard(rng)
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
    with a_worker_process(place, tmp_path) as process:
        put = load.finish()
        eventually(lambda: place.counted() >= put)
        process.terminate()
        assert process.wait(30) == 0
    assert place.counted() == put


@contextmanager
def a_worker_process(place: Place, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`liveinsight worker` on this place; its log is shown when the test fails."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    quick = {"LIVEINSIGHT_COUNTERS_INTERVAL": "0.1", "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3"}
    log = folder / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "liveinsight", "worker"],
            env={**base, **place.environ, **quick},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        print(log.read_text(errors="replace")[-2_000:])
