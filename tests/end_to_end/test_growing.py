"""`liveinsight copy` as an operator runs it: killed, started again, compared; and the target counts on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from liveinsight.bootstrap import initialise
from liveinsight.copying.drained import reached, uncounted
from liveinsight.copying.state import COPY, CopyState
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.storage.backend import Backend
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.wiring import open_backend
from processor.embedded.generation_worker import GenerationWorker, threads_of, worker_of
from processor.embedded.worker import Worker
from tests.liveinsight.copying.traffic import Answers, Scope, answers, in_one_run, put, traffic

pytestmark = pytest.mark.end_to_end

HOUR_MS = 3_600_000
KILLS = 3
VISITS = 1_500
QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
    "LIVEINSIGHT_PREVIEWS_INTERVAL": "0.2",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
    "LIVEINSIGHT_POLL_INTERVAL": "0.1",
    "LIVEINSIGHT_DEAD_LETTER_LIMIT": "1",
}


def settings_of(environ: dict[str, str], backend: str) -> Settings:
    return Settings.from_env({**environ, **QUICK, "LIVEINSIGHT_BACKEND": backend})


def count(settings: Settings) -> None:
    """Let an embedded worker count what is on the stream, then drain it."""
    backend = open_backend(settings)
    stream = backend.stream()

    def make_worker(generation: int) -> Worker:
        store = backend.store(generation)
        return worker_of(settings, stream, store, generation, threads_of(settings, stream, store, system_clock))

    worker, stop = GenerationWorker(lambda: load_pointer(backend.store(FIRST)).newest, make_worker), threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: not uncounted(stream, reached(backend, stream, FIRST)), 90)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def eventually(condition: Callable[[], bool], seconds: float) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.1)


def begin(environ: dict[str, str], to: str, log: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "liveinsight", "copy", "--to", to, *options]
    with log.open("ab") as output:
        return subprocess.Popen(command, env={**os.environ, **environ}, stdout=output, stderr=subprocess.STDOUT)


def without_arrival(found: Answers) -> Answers:
    """Answers without the times at which dead letters arrived."""
    return found._replace(dead_letters=sorted((reason, data, 0) for reason, data, _ in found.dead_letters))


def killed_and_continued(environ: dict[str, str], to: str, target: Backend, rng: random.Random, log: Path) -> None:
    """Copy, killed at random moments, and then let it end."""
    for _ in range(KILLS):
        copying = begin(environ, to, log)
        # So far, and a moment more.
        more = items_copied(target) + rng.randint(0, 1_500)
        give_up_at = time.monotonic() + 60
        while copying.poll() is None and items_copied(target) < more and time.monotonic() < give_up_at:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.3))
        copying.send_signal(signal.SIGKILL)
        copying.wait()
    last = begin(environ, to, log)
    code, said = last.wait(120), log.read_text()
    assert code == 0, said
    print(said)
    assert "it continues behind the first" in said


def items_copied(target: Backend) -> int:
    try:
        document = target.store(FIRST).load_document(COPY)
    except LiveInsightError:
        return 0
    return msgspec.json.decode(document.text, type=CopyState).items if document.version else 0


def shown(backend: Backend, scope: Scope) -> Answers:
    return answers(backend.store(FIRST), backend.store(FIRST), scope)


@pytest.mark.parametrize("target_is_older", [True, False], ids=["older", "younger"])
def test_to_aws_and_back(
    aws_environ: dict[str, str], tmp_path: Path, rng: random.Random, target_is_older: bool
) -> None:
    """A day is counted in three parts: on one machine, after a copy on AWS, and after a copy back on one machine again.

    Each copy is killed several times, while the next part waits on the target's stream. Before and after it all answers
    are the same; in the end they are those of one run over everything, visits that were open during a copy included.
    """
    environ = {**aws_environ, "LIVEINSIGHT_DATA_DIR": str(tmp_path / "a")}
    back_environ = {**aws_environ, "LIVEINSIGHT_DATA_DIR": str(tmp_path / "b")}
    first, on_aws = settings_of(environ, "sqlite"), settings_of(environ, "aws")
    second = settings_of(back_environ, "sqlite")
    for settings in (on_aws, first, second) if target_is_older else (second, first, on_aws):
        initialise(settings)
        time.sleep(1.1)
    entries = traffic(rng, system_clock() - 20 * HOUR_MS, visits=VISITS)
    cuts = sorted(rng.sample(range(len(entries) // 4, len(entries)), 2))
    scope, whole = in_one_run(entries, system_clock)
    machine, aws, again = (open_backend(settings) for settings in (first, on_aws, second))

    put(machine.stream(), entries[: cuts[0]])
    count(first)
    put(aws.stream(), entries[cuts[0] : cuts[1]])
    killed_and_continued(environ, "aws", aws, rng, tmp_path / "to-aws.log")
    assert shown(aws, scope) == shown(machine, scope)

    count(on_aws)
    put(again.stream(), entries[cuts[1] :])
    killed_and_continued(back_environ, "sqlite", again, rng, tmp_path / "to-sqlite.log")
    assert shown(again, scope) == shown(aws, scope)

    count(second)
    assert without_arrival(shown(again, scope)) == without_arrival(answers(whole, whole, scope))


def test_waits_until_all_is_counted(aws_environ: dict[str, str], tmp_path: Path, rng: random.Random) -> None:
    """With --wait it begins before ingest has ended: it copies the sites, says what it waits for, and goes on by
    itself. A worker of the target that was started meanwhile waits, too."""
    environ = {**aws_environ, "LIVEINSIGHT_DATA_DIR": str(tmp_path / "a")}
    first, on_aws, log = settings_of(environ, "sqlite"), settings_of(environ, "aws"), tmp_path / "log"
    initialise(first)
    entries = traffic(rng, system_clock() - 20 * HOUR_MS)
    half = len(entries) // 2
    scope, whole = in_one_run(entries, system_clock)
    put(open_backend(first).stream(), entries[:half])
    copying = begin(environ, "aws", log, "--wait")
    try:
        eventually(lambda: "waiting for the worker to count shardId-" in log.read_text(), 30)
        put(open_backend(on_aws).stream(), entries[half:])
        worker = threading.Thread(target=count, args=(on_aws,))
        worker.start()
        time.sleep(1)
        assert not open_backend(on_aws).store(FIRST).load_checkpoints()
        count(first)
        assert copying.wait(60) == 0, log.read_text()
        worker.join(60)
    finally:
        copying.kill()
        copying.wait()
    assert without_arrival(shown(open_backend(on_aws), scope)) == without_arrival(answers(whole, whole, scope))
