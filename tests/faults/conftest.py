"""Services on disks that fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.services import Services

IN_CI = os.environ.get("CI") == "true"
SMALL_DISK = "size=96m"


@pytest.fixture
def start_services(tmp_path: Path) -> Iterator[Callable[..., Services]]:
    """Gives the services on a data folder; their processes end with the test."""
    logs = tmp_path / "logs"
    logs.mkdir()
    made: list[Services] = []

    def make(data: Path, *prefix: str) -> Services:
        made.append(Services(data, logs, prefix))
        return made[-1]

    yield make
    for services in made:
        services.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of some megabytes, in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        impossible(f"a small disk needs the right to mount: `unshare --map-root-user --mount make ...` ({done.stderr})")
    yield disk
    # Lazily: the processes of a test that has failed may still use it.
    subprocess.run(["umount", "--lazy", disk], check=True)


def impossible(reason: str) -> None:
    """Skip what this machine cannot do; in CI that is a failure."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
