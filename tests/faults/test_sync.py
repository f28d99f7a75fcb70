"""A 2xx is sent when the stream's log is on the disk: what SIGKILL cannot show, as the system keeps what it was given.

request  ->  write to stream.db-wal  ->  fdatasync of stream.db-wal  ->  202
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import impossible
from tests.faults.load import Load
from tests.faults.services import Services, eventually

pytestmark = pytest.mark.end_to_end

CALLS = "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg"


def test_log_is_on_the_disk_before_the_answer(
    start_services: Callable[..., Services], seed: int, tmp_path: Path
) -> None:
    """Between the last write to the log and each 202 the log is synchronised, as the system's calls show."""
    if not shutil.which("strace"):
        impossible("needs strace: apt-get install strace")
    trace = tmp_path / "calls"
    services = start_services(tmp_path / "data", "strace", "-f", "-y", "-s", "16", "-e", CALLS, "-o", str(trace))
    services.start("ingest")
    eventually(lambda: services.ready("ingest") == 200, 60, services.tell)
    load = Load(services.ingest_port, seed, threads=1)
    with load.running():
        eventually(lambda: load.acknowledged >= 5, 30, services.tell)
    services.kill()
    story = "".join(events(trace.read_text(errors="replace")))
    print(story)
    assert story.count("A") >= 5
    assert re.fullmatch("(W+SA?)+W*", story)


def events(trace: str) -> Iterator[str]:
    """W: the log is written to. S: it is on the disk. A: a 202 begins to be sent."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if "HTTP/1.1 202" in call:
            yield "A"
        if call.endswith("<unfinished ...>"):
            begun[thread] = call
            continue
        # Of a call that another thread has interrupted, the end counts.
        if call.startswith("<..."):
            call = begun.pop(thread, "") + call
        if "stream.db-wal>" in call:
            yield "S" if call.startswith(("fdatasync", "fsync")) else "W"
