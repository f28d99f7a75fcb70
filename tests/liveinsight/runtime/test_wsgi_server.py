"""The web server with the worker processes that it starts and replaces."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

APP = """
import sys
from liveinsight.runtime.wsgi_server import replace_workers, serve

def app(environ, start_response):
    if environ["PATH_INFO"] == "/replace":
        replace_workers()
    start_response("200 OK", [])
    return [b"ok"]

if __name__ == "__main__":
    serve("served:app", "127.0.0.1", int(sys.argv[1]), port_setting="PORT", workers=int(sys.argv[2]), threads=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned to cores on Linux only")
def test_replaced_workers_are_pinned_to_cores_as_the_first_ones_were(tmp_path: Path) -> None:
    """A replacement starts while its predecessor still has the core, and takes it over when it is free."""
    cores = os.sched_getaffinity(0)
    (tmp_path / "served.py").write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])}
    server = subprocess.Popen([sys.executable, str(tmp_path / "served.py"), str(port), str(len(cores))], env=environ)
    try:
        first = wait_for(lambda: pinned(server.pid, cores))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/replace", timeout=10) as answer:
            assert answer.read() == b"ok"
        wait_for(lambda: pinned(server.pid, cores) if not first & children(server.pid) else set())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"ok"
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def children(server: int) -> set[int]:
    """The worker processes."""
    return set(map(int, Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()))


def pinned(server: int, cores: set[int]) -> set[int]:
    """The worker processes if each has a core of its own; else none."""
    try:
        owned = {child: os.sched_getaffinity(child) for child in children(server)}
    except ProcessLookupError:
        return set()
    singles = {next(iter(affinity)) for affinity in owned.values() if len(affinity) == 1}
    return set(owned) if len(owned) == len(singles) == len(cores) else set()


def wait_for(condition: Callable[[], set[int]], seconds: float = 60) -> set[int]:
    """Its first result that is not empty."""
    give_up_at = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up_at, "the workers are not pinned"
        time.sleep(0.2)
    return found
