"""A worker whose tables are throttled, or gone, for half a minute: it waits, goes on by itself, and has lost nothing.

    load ==put==put==put==put==put==put==put==put==>  stream  ->  worker  --proxy-->  DynamoDB
    tables      there      |-- throttled / gone / not created yet, 30 s --|      there
    status      0                         1 (2 where it cannot read)             0, nothing waits

The outages overlap in time, each on a stream and tables of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from liveinsight.aws.clients import dynamodb_client
from liveinsight.aws.schema import TableNames, create_tables, delete_tables
from liveinsight.bootstrap import initialise
from liveinsight.devstack.ministack import MiniStack
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError, StreamUnavailable
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.stream import OutRecord, Stream
from liveinsight.testing.builders import an_event
from liveinsight.testing.outage_proxy import GONE, THROTTLED, OutageProxy
from liveinsight.testing.resharding_stack import DynamoDBLocal, KinesisMock
from liveinsight.wiring import open_store, open_stream
from processor.kcl.java import find_jars, find_java

OUTAGE_SECONDS = 30.0
LIMIT_SECONDS = 5
QUICK = {"LIVEINSIGHT_COUNTERS_INTERVAL": "0.2", "LIVEINSIGHT_SESSIONS_INTERVAL": "0.5"}
KCL = (
    "failoverTimeMillis=3000",
    "leaseAssignmentIntervalMillis=1000",
    "shardSyncIntervalMillis=500",
    "workerMetricsReporterFreqInMillis=2000",
    "idleTimeBetweenReadsInMillis=200",
)
"""The library's own cadences are made for fleets; with these its leases run out during the outage."""
_numbers = count()


class Load(threading.Thread):
    """Puts page views of ever new visitors until it is stopped."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(name="load", daemon=True)
        self._stream = stream
        self._done = threading.Event()
        self.taken = 0

    def run(self) -> None:
        while not self._done.wait(0.2):
            new = range(self.taken, self.taken + 10)
            events = [an_event(at=system_clock(), visitor=number, event_id=number + 1) for number in new]
            self._put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])
            self.taken += len(events)

    def _put(self, records: list[OutRecord]) -> None:
        """Until all are taken; one that was taken without an answer is recognised by its event's id."""
        while records:
            try:
                outcomes = self._stream.put(records)
            except StreamUnavailable:
                time.sleep(0.5)
                continue
            records = [r for r, outcome in zip(records, outcomes, strict=True) if not outcome.sequence_number]

    @contextmanager
    def running(self) -> Iterator[None]:
        """For as long as the test is well."""
        self.start()
        try:
            yield
        finally:
            self.finish()

    def finish(self) -> int:
        """Stop, and say how many events the stream has taken."""
        self._done.set()
        self.join(60)
        assert not self.is_alive()
        return self.taken


class Outage:
    """One worker process and what happens to its tables.

    Args:
        environ: of programs that reach AWS directly.
        through: what the worker's environment has beside that: the way through the proxy.
        command: starts the worker, after `liveinsight`; any runtime's.
        folder: for the worker's log.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        through: Mapping[str, str],
        command: tuple[str, ...],
        folder: Path,
    ) -> None:
        base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
        self._environ = {**base, **environ}
        self._through = through
        self._command = command
        self._log = folder / f"{environ['LIVEINSIGHT_STREAM']}.log"
        self.settings = Settings.from_env(environ)
        initialise(self.settings)
        self.stream, self.store = open_stream(self.settings), open_store(self.settings)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """The worker; its log is shown when the test fails."""
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "liveinsight", *self._command],
                env={**self._environ, **self._through, **QUICK},
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            print(self._log.read_text(errors="replace")[-1_500:])

    def status(self) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of `liveinsight status`."""
        command = [sys.executable, "-m", "liveinsight", "status", "--json", "--limit", str(LIMIT_SECONDS)]
        done = subprocess.run(command, env={**self._environ, **QUICK}, capture_output=True, check=False, timeout=60)
        print(done.stderr.decode())
        return done.returncode, json.loads(done.stdout or b"{}")

    def counted(self) -> int:
        """Page views in the totals."""
        quarter = quarter_of(system_clock())
        rows = self.store.read_totals("default", quarter - 2, quarter).rows
        return sum(item.measures.get("pageviews", 0) for _, item in rows)

    def ride_out(self, begin: Callable[[], None], end: Callable[[], object], *, code: int) -> None:
        """The whole story; `code` is what status must say in the middle."""
        load = Load(self.stream)
        with self.worker() as process, load.running():
            if code == 1:
                eventually(lambda: self.counted() >= 20, 120)
                eventually(lambda: self.status()[0] == 0)
            began = time.monotonic()
            begin()
            time.sleep(LIMIT_SECONDS + 5)
            during, answer = self.status()
            assert during == code
            if code == 1:
                assert {shard["state"] for shard in answer["shards"]} == {"stalled"}
            time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
            assert process.poll() is None, "the worker did not wait"
            end()
            ended = time.monotonic()
            put = load.finish()
            eventually(lambda: self.counted() >= put)
            print(f"{self._log.name}: {put} events, all counted {time.monotonic() - ended:.1f} s after the outage")
            eventually(lambda: self.status()[0] == 0)
            eventually(lambda: all(shard["lag_ms"] == 0 for shard in self.status()[1]["shards"]))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert self.counted() == put


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.2)


class Stories:
    """All outages of this file, told at once: most of their time is waiting."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(8)
        self._proxies: list[OutageProxy] = []
        self._running: dict[str, Future[None]] = {}

    def begin(self, name: str, story: Callable[..., None], *arguments: Any) -> None:
        self._running[name] = self._pool.submit(story, *arguments)

    def wait_for(self, name: str) -> None:
        """Until it has ended, with its failure if it has one."""
        if name not in self._running:
            if os.environ.get("CI") == "true":
                pytest.fail("the Kinesis Client Library is not installed: `make kcl`")
            pytest.skip("needs the Kinesis Client Library (`make kcl`), Java and Node")
        self._running[name].result()

    def close(self) -> None:
        self._pool.shutdown()
        for proxy in self._proxies:
            proxy.close()

    def embedded(self, kind: str, ministack: MiniStack) -> None:
        """The embedded worker, with the proxy making the outage."""
        outage, proxy = self._behind_a_proxy(ministack.port, {"AWS_ENDPOINT_URL": ministack.url}, ("worker",))
        self._ride_out(outage, proxy, kind)

    def not_there_yet(self, ministack: MiniStack) -> None:
        """The embedded worker, before there are any tables."""
        outage = Outage(_named({"AWS_ENDPOINT_URL": ministack.url}), {}, ("worker",), self._folder)
        client = dynamodb_client(outage.settings)
        names = TableNames.with_prefix(outage.settings.table_prefix)
        list(delete_tables(client, names))
        outage.ride_out(lambda: None, lambda: list(create_tables(client, names, deletion_protection=False)), code=2)

    def client_library(self, kind: str, kinesis: KinesisMock, dynamodb: DynamoDBLocal) -> None:
        """The Kinesis Client Library's daemon; throttled are all tables, its lease table included, gone are ours."""
        direct = {"AWS_ENDPOINT_URL_KINESIS": kinesis.url, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url}
        command = ("worker", "--runtime", "kcl", *(text for change in KCL for text in ("--kcl", change)))
        outage, proxy = self._behind_a_proxy(dynamodb.port, direct, command)
        if kind == GONE:
            proxy.tables = tuple(vars(TableNames.with_prefix(outage.settings.table_prefix)).values())
        self._ride_out(outage, proxy, kind)

    def _behind_a_proxy(
        self, port: int, direct: Mapping[str, str], command: tuple[str, ...]
    ) -> tuple[Outage, OutageProxy]:
        proxy = OutageProxy(port)
        self._proxies.append(proxy)
        return Outage(_named(direct), {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}, command, self._folder), proxy

    def _ride_out(self, outage: Outage, proxy: OutageProxy, kind: str) -> None:
        def switch(to: str) -> Callable[[], None]:
            return lambda: setattr(proxy, "outage", to)

        outage.ride_out(switch(kind), switch(""), code=1)
        print(kind, dict(proxy.refused))
        assert sum(proxy.refused.values()) >= 10


def _named(environ: Mapping[str, str]) -> dict[str, str]:
    """With a stream and tables of its own."""
    name = f"outage{next(_numbers)}"
    return {**environ, "LIVEINSIGHT_STREAM": name, "LIVEINSIGHT_TABLE_PREFIX": name}


@pytest.fixture(scope="module")
def stories(
    request: pytest.FixtureRequest, ministack: MiniStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stories]:
    told = Stories(tmp_path_factory.mktemp("outages"))
    try:
        find_java(os.environ)
        find_jars()
        pair = request.getfixturevalue("kinesis_mock"), request.getfixturevalue("fresh_dynamodb_local")
    except (LiveInsightError, pytest.skip.Exception):
        pair = None
    if pair:
        for kind in (THROTTLED, GONE):
            told.begin(f"{kind} under the client library", told.client_library, kind, *pair)
    for kind in (THROTTLED, GONE):
        told.begin(kind, told.embedded, kind, ministack)
    told.begin("not there yet", told.not_there_yet, ministack)
    yield told
    told.close()


@pytest.mark.outage
@pytest.mark.parametrize(
    "story",
    [THROTTLED, GONE, "not there yet", f"{THROTTLED} under the client library", f"{GONE} under the client library"],
)
def test_worker_waits_and_recovers(stories: Stories, story: str) -> None:
    """A worker waits while its tables are throttled, said to be gone, or not created yet, for 30 seconds, and then goes
    on by itself: every event is counted once. Meanwhile status tells a monitor, and afterwards that nothing waits."""
    stories.wait_for(story)
