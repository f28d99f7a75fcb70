"""Processes as the kernel sees them (Linux): who belongs to whom, their CPU time and memory; and the machine.

In: the pid of a program. Out: numbers of it and of all processes below it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
REPOSITORY = Path(__file__).resolve().parent.parent.parent


def describe_machine() -> str:
    """What the numbers were measured on, and how busy it was before."""
    load, _, _ = os.getloadavg()
    return (
        f"{os.cpu_count()} cores, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.machine()}, load average {load:.1f}"
    )


def descendants(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield from descendants(int(child))


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a program, with its children, also those that have ended."""
    total = 0
    for each in descendants(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def pss_mb(pid: int) -> float:
    """Memory of a program in MB: pages that processes share are counted once."""
    total = 0
    for each in descendants(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


def busy_seconds() -> float:
    """CPU time of the whole machine so far: all that was not idle or waiting for a disk."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / _TICKS


class Ended(NamedTuple):
    """A program that has run to its end."""

    cpu_seconds: float
    max_rss_mb: float


def run(command: Sequence[str], environ: Mapping[str, str], *, lines: Iterator[str] | None = None) -> Ended:
    """Run a program to its end, with `lines` as its standard input.

    Raises:
        SystemExit: it failed; with what it has said.
    """
    with subprocess.Popen(
        command,
        env=environ,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE if lines else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        if lines:
            assert process.stdin is not None
            with process.stdin, suppress(BrokenPipeError):
                process.stdin.writelines(lines)
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said[-2_000:]}")
    return Ended(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
