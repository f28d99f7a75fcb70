"""`liveinsight worker --runtime kcl` as a process: its launcher, the library's Java daemon, and a child per shard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

QUICK = {
    "failoverTimeMillis": "3000",
    "leaseAssignmentIntervalMillis": "1000",
    "shardSyncIntervalMillis": "500",
    "workerMetricsReporterFreqInMillis": "2000",
    "parentShardPollIntervalMillis": "1000",
    "idleTimeBetweenReadsInMillis": "200",
}
"""The library's own cadences, which are made for fleets."""


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, f"did not happen in {seconds:g} s: {what}"
        time.sleep(0.1)


class Worker:
    """A running `liveinsight worker --runtime kcl`."""

    def __init__(self, log: Path, environ: dict[str, str], properties: Mapping[str, str]) -> None:
        self.log = log
        changes = [text for name, value in properties.items() for text in ("--kcl", f"{name}={value}")]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liveinsight", "worker", "--runtime", "kcl", *changes],
                env=environ,
                stdout=output,
                stderr=output,
            )

    def lines(self, action: str) -> list[dict[str, Any]]:
        """Log lines with this action, in order."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if f'"action": "{action}"' in line and line.startswith("{") and line.endswith("}"):
                found.append(json.loads(line))
        return found

    @property
    def daemon(self) -> int:
        return int(self.lines("begin")[0]["pid"])

    @property
    def name(self) -> str:
        """What the lease table calls it."""
        return str(self.lines("begin")[0]["worker"])

    def begun(self) -> dict[str, str]:
        """When each shard began, by its id."""
        return {line["shard"]: line["time"] for line in self.lines("initialize")}

    def finished(self) -> dict[str, str]:
        """When each shard that was read to its end had ended, by its id."""
        return {line["shard"]: line["time"] for line in self.lines("shard_ended")}

    def wait_for_shards(self, shards: int = 1) -> None:
        """Until so many shards have begun; again counts."""
        eventually(lambda: self.ended or len(self.lines("initialize")) >= shards, 180, f"{shards} shards begun")
        assert not self.ended

    def wait_for(self, shards: Iterable[str]) -> None:
        """Until these shards have begun."""
        eventually(lambda: set(shards) <= set(self.begun()), 120, "the shards begin")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Drain; gives the exit code."""
        self._process.send_signal(number)
        return self.wait()

    def stop_all(self) -> int:
        """SIGTERM to launcher, daemon and children at once, as systemd sends it; gives the exit code."""
        self._process.terminate()
        os.killpg(self.daemon, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(60)

    def kill_daemon(self) -> None:
        """The daemon and its children; the launcher lives on."""
        os.killpg(self.daemon, signal.SIGKILL)

    def kill(self) -> None:
        """Launcher, daemon and children at once, as a machine that loses its power."""
        self._process.kill()
        self._process.wait()
        for begun in self.lines("begin"):
            # The daemon has a process group of its own, and its children are in it.
            with_children = int(begun["pid"])
            with suppress(ProcessLookupError):
                os.killpg(with_children, signal.SIGKILL)

    def delivered(self) -> int:
        """Records that the daemon gave to processors that have ended."""
        return sum(line["records"] for line in self.lines("end") if "records" in line)

    def skipped(self) -> int:
        return sum(line["skipped"] for line in self.lines("end") if "skipped" in line)
