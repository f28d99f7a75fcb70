"""Accepted means durable, on a real server, while the stream fails in all its ways and ingest itself is killed.

    16 clients --HTTP--> liveinsight ingest (2 processes) --boto3--> a Kinesis that refuses, hangs, half-fails, cuts

OUTAGE_SECONDS says how long the stream is in trouble (60 for the long run).
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ingest.pipeline.identity import hashes_of_id
from liveinsight.settings import Settings
from tests.ingest.delivery.fickle_kinesis import FickleKinesis, Mood

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))
CLIENTS = 16
SPARE_MB = 80
"""What a process may grow by while the stream is down, threads and buffers included."""
SERVER_TIMEOUT = 14
"""Seconds to drain. A worker that has not ended after 15 is killed, which must not be needed."""
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


class Server:
    """`liveinsight ingest` with two processes, in a process group of its own."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.port = free_port()
        self._environ = {**os.environ, **environ, "LIVEINSIGHT_INGEST_PORT": str(self.port)}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "liveinsight", "ingest", "--workers", "2", "--threads", "64"]
        self.process = subprocess.Popen(
            command, env=self._environ, cwd=Path(__file__).parents[3], start_new_session=True
        )
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            assert self.process.poll() is None, "the server has ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not come up")

    def workers(self) -> list[int]:
        """Process ids of the worker processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def megabytes(self) -> list[float]:
        """Resident memory of each worker."""
        found = []
        for pid in self.workers():
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            found.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        return found

    def kill_all(self) -> None:
        """SIGKILL, as from a machine that goes down."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def terminate(self) -> int:
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SERVER_TIMEOUT)


def free_port() -> int:
    """One that is not for outgoing connections: a client that tries again would connect to itself and keep it."""
    for port in random.sample(range(15_000, 30_000), 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class Clients:
    """Threads that send events one after the other, and note what they were told of each."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = count()
        self._stop = threading.Event()
        self.told: dict[str, int | str] = {}
        self.slowest = 0.0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a request was never answered"

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop.is_set():
            # Single events and small batches, of visitors that share buckets.
            ids = [f"event-{next(self._numbers)}" for _ in range(1 + next(self._numbers) % 3)]
            body = json.dumps(
                [
                    {"event_type": "page_view", "page_url": f"/{one[-1]}", "id": one, "user_id": f"u{hash(one) % 50}"}
                    for one in ids
                ]
            )
            began = time.monotonic()
            try:
                headers = {"Content-Type": "text/plain", "User-Agent": CHROME}
                connection.request("POST", "/collect", body, headers)
                answer = connection.getresponse()
                answer.read()
                told: int | str = answer.status
                if told == 503:
                    assert int(answer.headers["Retry-After"]) >= 1
                    # A real client would wait longer.
                    self._stop.wait(0.01)
            except (OSError, http.client.HTTPException):
                told = "closed"
                connection.close()
                self._stop.wait(0.05)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.told.update(dict.fromkeys(ids, told))
        connection.close()


@pytest.fixture
def kinesis(rng: random.Random) -> Iterator[FickleKinesis]:
    server = FickleKinesis(rng)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(aws: Settings, aws_environ: dict[str, str], kinesis: FickleKinesis) -> Iterator[Server]:
    started = Server({**aws_environ, "AWS_ENDPOINT_URL_KINESIS": kinesis.url})
    yield started
    if started.process.poll() is None:
        started.kill_all()


def accepted(clients: Clients) -> int:
    return sum(told == 202 for told in list(clients.told.values()))


def until_accepted(clients: Clients, number: int) -> None:
    """Wait until so many more events were accepted: the outage is over."""
    target = accepted(clients) + number
    give_up_at = time.monotonic() + 20
    while accepted(clients) < target:
        assert time.monotonic() < give_up_at, f"ingest does not recover: {Counter(clients.told.values())}"
        time.sleep(0.05)


@pytest.mark.outage
def test_every_event_that_was_accepted_is_on_the_stream(server: Server, kinesis: FickleKinesis) -> None:
    """Through outages, SIGTERM and SIGKILL: 2xx is on the stream, all else was a 503 or a closed connection."""
    clients = Clients(server.port)
    until_accepted(clients, 200)
    before = max(server.megabytes())
    most = before
    troubles = [Mood.REFUSES, Mood.HALF, Mood.HANGS, Mood.CUTS, Mood.DENIES]
    for mood in troubles:
        kinesis.mood = mood
        ends_at = time.monotonic() + SECONDS / len(troubles)
        while time.monotonic() < ends_at:
            most = max([most, *server.megabytes()])
            time.sleep(0.1)
        kinesis.mood = Mood.WELL
        until_accepted(clients, 50)

    kinesis.mood = Mood.HALF
    until_accepted(clients, 20)
    assert server.terminate() == 0
    server.start()
    until_accepted(clients, 50)
    # One of two processes: the other goes on, and a new one comes.
    os.kill(server.workers()[0], signal.SIGKILL)
    until_accepted(clients, 200)
    server.kill_all()
    server.start()
    kinesis.mood = Mood.WELL
    until_accepted(clients, 100)
    clients.stop()
    assert server.terminate() == 0

    told = Counter(clients.told.values())
    print(f"told: {dict(told)}; calls: { {mood.name: calls for mood, calls in kinesis.calls.items()} }")
    print(f"slowest answer {clients.slowest:.1f} s; resident {before:.0f} MB before, {most:.0f} MB at most")
    lost = [
        one
        for one, answer in clients.told.items()
        if answer == 202 and not hashes_of_id("default", one) & kinesis.event_ids
    ]
    assert lost == [], f"{len(lost)} of {told[202]} accepted events are not on the stream"
    assert set(told) == {202, 503, "closed"}
    assert all(kinesis.calls.values())
    assert most < before + SPARE_MB
    # The longest of all: two seconds of patience, and one call that hangs.
    assert clients.slowest < 10
