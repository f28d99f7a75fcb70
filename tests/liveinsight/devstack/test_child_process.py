"""Programs as child processes: the pauses between starts, logs of bounded size, and a disk that takes no log."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from liveinsight.devstack import child_process
from liveinsight.devstack.child_process import FIRST_PAUSE, LONGEST_PAUSE, WELL_SECONDS, ChildProcess


class Clock:
    """Seconds, by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def program(code: str, log: Path, clock: Clock | None = None) -> ChildProcess:
    return ChildProcess(
        "program", [sys.executable, "-c", code], environ=dict(os.environ), log=log, elapsed=clock or time.monotonic
    )


def ended(child: ChildProcess) -> None:
    give_up_at = time.monotonic() + 20
    while child.alive:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "program.log"


def test_pauses_grow_until_it_runs_well(log: Path) -> None:
    """A program that ends at once is started after pauses that double up to a minute. One that ran well begins anew."""
    clock, said = Clock(), list[str]()
    child = program("raise SystemExit(3)", log, clock)
    pauses = []
    for _ in range(9):
        ended(child)
        child.supervise(said.append)
        before, began = clock.now, child.pid
        while child.pid == began:
            clock.now += FIRST_PAUSE
            child.supervise(said.append)
        pauses.append(clock.now - before)
    assert pauses == [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(9)]
    assert said[0] == f"program has ended with code 3, see {log}; next start in 0.5 s"
    ended(child)
    clock.now += WELL_SECONDS + 1
    child.supervise(said.append)
    assert said[-1].endswith("next start in 0.5 s")
    child.stop(0)


def test_logs_are_bounded(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a program says, there are the log and a few older ones, each no longer than allowed, the end at last."""
    monkeypatch.setattr(child_process, "LOG_BYTES", 10_000)
    child = program("for n in range(20_000): print('line', n)", log)
    ended(child)
    child.stop(0)
    logs = list(log.parent.iterdir())
    assert len(logs) == 1 + child_process.LOGS_KEPT
    assert all(one.stat().st_size <= 10_000 for one in logs)
    assert log.read_text().splitlines()[-1] == "line 19999"
    assert child.last_lines[-1] == "line 19999"


def test_program_goes_on_without_its_log(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A log that cannot be written stops no program, and nothing is said line by line."""
    log.mkdir(parents=True)
    child = program("for n in range(100_000): print('a line of some length', n)", log)
    ended(child)
    assert child.exit_code == 0
    child.stop(0)
    assert capfd.readouterr() == ("", "")
