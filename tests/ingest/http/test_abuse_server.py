"""Abuse of a real server: stalled connections, huge headers and bodies. Loopback only, and little.

The server is the product's own, with few threads and a stream in memory.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.http.body_watchdog import CHECK_SECONDS, DEADLINE_SECONDS, BodyWatchdog
from liveinsight.runtime.wsgi_server import CONNECTIONS_PER_THREAD

THREADS = 8
MOST = 4
APP = """
from pathlib import Path
from ingest.app import Backend, create_app
from ingest.http.body_watchdog import BodyWatchdog
from liveinsight.model.clock import system_clock
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.settings import Settings
from liveinsight.sites.site import plain_sites

settings = Settings.from_env({})
store = MemoryStore()
app = create_app(
    settings,
    Backend(MemoryStream(system_clock), store, lambda: plain_sites(settings.sites), lambda: store, system_clock),
    tracker_file=Path("none"), bodies=BodyWatchdog(MOST),
)
"""
VIEW = json.dumps({"event_type": "page_view", "page_url": "https://shop.example/"}).encode()


class Server:
    """Our server on loopback, with an application that keeps everything in memory."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        (folder / "abused.py").write_text(APP.replace("MOST", str(MOST)))
        serving = f"serve('abused:app', '127.0.0.1', {self.port}, port_setting='PORT', workers=1, threads={THREADS})"
        command = f"from liveinsight.runtime.wsgi_server import serve; {serving}"
        paths = os.pathsep.join([str(folder), str(Path(__file__).parents[3])])
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LIVEINSIGHT_")}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", command], env={**environ, "PYTHONPATH": paths}, stdout=log, stderr=log
            )
        give_up_at = time.monotonic() + 30
        while True:
            try:
                self.post()
                return
            except OSError:
                assert time.monotonic() < give_up_at, (folder / "log").read_text()
                time.sleep(0.1)

    def post(self, timeout: float = 5) -> int:
        """An ordinary event; the status of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", "/collect", VIEW, {"Content-Type": "text/plain", "User-Agent": "Mozilla/5.0"})
            return connection.getresponse().status
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether an ordinary event is taken within a second."""
        try:
            return self.post(timeout=1) == 202
        except OSError:
            return False

    def half(self, sent: bytes) -> socket.socket:
        """A connection that has sent something, and stays open."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        connection.sendall(sent)
        return connection

    def workers(self) -> set[str]:
        """Process ids of the worker processes."""
        return set(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())

    def memory(self) -> int:
        """Bytes that the worker process holds."""
        pages = sum(int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in self.workers())
        return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("abused"))
    yield made
    made.process.send_signal(signal.SIGTERM)
    made.process.wait(30)


def answer_of(connection: socket.socket, timeout: float = 5) -> bytes:
    """The start of what comes back; empty when the connection is closed without an answer."""
    connection.settimeout(timeout)
    try:
        return connection.recv(200)
    except ConnectionError:
        return b""


def test_half_sent_headers_starve_nobody(server: Server) -> None:
    """Connections that have sent nothing, or half a header, hold no thread: others are served at once."""
    half = [server.half(start) for start in (b"", b"POST /collect HTTP/1.1\r\nHost: x\r\nX-Slow: ") for _ in range(12)]
    assert len(half) > THREADS
    assert len(half) < CONNECTIONS_PER_THREAD * THREADS
    for _ in range(5):
        began = time.monotonic()
        assert server.post() == 202
        assert time.monotonic() - began < 2
    for connection in half:
        connection.close()


def test_half_sent_bodies_starve_nobody_for_good(server: Server) -> None:
    """A few that stall leave the others alone. When they hold half of the threads, a new process takes over.

    The old one answers what it can before it ends: a body that comes late is accepted there.
    """
    header = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    half = [server.half(header % 5000 + b"{") for _ in range(MOST - 2)]
    late = server.half(header % len(VIEW) + VIEW[:-1])
    old = server.workers()
    assert [server.post() for _ in range(3 * THREADS)] == [202] * 3 * THREADS
    began = time.monotonic()
    half += [server.half(header % 5000 + b"{") for _ in range(THREADS)]
    wait_until(lambda: not server.answers())
    wait_until(lambda: server.workers() > old, DEADLINE_SECONDS + 10)
    assert time.monotonic() - began > DEADLINE_SECONDS - 2
    late.sendall(VIEW[-1:])
    assert answer_of(late).startswith(b"HTTP/1.1 202")
    late.close()
    wait_until(server.answers, 20)
    for connection in half:
        assert answer_of(connection, 30) == b""
        connection.close()
    wait_until(lambda: not server.workers() & old, 10)
    assert [server.post() for _ in range(THREADS)] == [202] * THREADS


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Large: " + b"a" * 500_000,
        b"Cookie: " + b"a=b; " * 100_000,
        b"\r\n".join(b"X-Many-%d: a" % number for number in range(5000)),
        b"User-Agent: " + b"Mozilla/5.0 " * 20_000,
    ],
    ids=["large", "cookies", "many", "agent"],
)
def test_huge_headers_are_refused(server: Server, headers: bytes) -> None:
    """431 or a closed connection, and nothing kept."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"POST /collect HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")
    answer = answer_of(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    connection.close()
    assert server.post() == 202


def test_a_body_is_read_no_further_than_its_limit(server: Server) -> None:
    """One that says it has gigabytes, one that never ends, one that unpacks to much more: memory stays as it is."""
    server.post()
    before = server.memory()
    start = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
    told = server.half(start + b"Content-Length: 10000000000\r\n\r\n")
    assert answer_of(told).startswith(b"HTTP/1.1 413")
    endless = server.half(start + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent = 0
    try:
        while sent < 400:
            endless.sendall(chunk)
            sent += 1
    except OSError:
        pass
    assert sent < 400 or answer_of(endless).startswith(b"HTTP/1.1 413")
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    packed = server.half(start + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    assert answer_of(packed).startswith(b"HTTP/1.1 415")
    for connection in (told, endless, packed):
        connection.close()
    assert server.post() == 202
    assert server.memory() - before < 30_000_000


def test_input_that_is_not_http_is_rejected(server: Server) -> None:
    """Binary noise, a TLS hello, HTTP/2, request smuggling: 4xx or a closed connection."""
    smuggled = (
        b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x"
    )
    for sent in (b"\x00\xff" * 1000, b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", smuggled):
        connection = server.half(sent)
        try:
            answer = answer_of(connection, 2)
        except TimeoutError:
            answer = b""
        assert answer == b"" or answer[9:10] == b"4", answer
        connection.close()
    assert server.post() == 202


def test_the_watchdog_acts_only_when_too_many_bodies_are_overdue() -> None:
    """Bodies that came, and bodies that are late but few, are left alone. It acts once."""
    now = 0.0
    acted: list[float] = []
    watchdog = BodyWatchdog(2, lambda: acted.append(now), lambda: now)
    released = threading.Event()

    class Stalled(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            released.wait(20)
            return super().read(size)

    def environ(stream: type[io.BytesIO]) -> dict[str, Any]:
        return {"CONTENT_LENGTH": "4", "wsgi.input": stream(b"body")}

    threads = [threading.Thread(target=watchdog.read, args=[environ(Stalled)]) for _ in "ab"]
    assert watchdog.read(environ(io.BytesIO)) == b"body"
    threads[0].start()
    wait_until(lambda: watchdog.reading == 1)
    now = DEADLINE_SECONDS + 1
    assert (watchdog.check(), watchdog.overdue(), acted) == (False, 1, [])
    threads[1].start()
    wait_until(lambda: watchdog.reading == 2)
    assert (watchdog.check(), watchdog.overdue(), acted) == (False, 1, [])
    now *= 2
    wait_until(lambda: acted == [now])
    time.sleep(2 * CHECK_SECONDS)
    assert (watchdog.overdue(), acted) == (2, [now])
    released.set()
    for thread in threads:
        thread.join()
    assert (watchdog.check(), watchdog.reading) == (False, 0)


def wait_until(holds: Callable[[], bool], seconds: float = 5) -> None:
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
