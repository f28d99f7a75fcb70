"""Real processes on each backend: the worker as an operator starts it, and a log to import."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.storage.store import ReadStore
from liveinsight.storage.watermarks import freshest_possible

ACCESS_LOG = os.environ.get("ACCESS_LOG", "")
IN_CI = os.environ.get("CI") == "true"

AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
]


def write_log(path: Path, *, seed: int, requests: int) -> Path:
    """A small blog's log: visitors with several visits, static files, errors, bots, bad lines, a little disorder."""
    rng = random.Random(seed)
    lines = []
    for number in range(requests):
        visitor = rng.randrange(requests // 12 + 1)
        at = 1_431_820_800 + number * 4 * 86_400 // requests + rng.randrange(-30, 30)
        stamp = time.strftime("%d/May/%Y:%H:%M:%S", time.gmtime(at))
        target = rng.choice(
            ["/", "/blog/", "/blog", "/about?x=1", "/a//b/", "/style.css", "/logo.png", f"/p/{number % 40}"]
        )
        method = rng.choices(["GET", "POST", "HEAD"], [20, 1, 1])[0]
        status = rng.choices([200, 304, 301, 404], [20, 2, 1, 1])[0]
        referrer = rng.choice(["-", "https://www.google.com/", "http://blog.example/", "https://other.example/x?y"])
        lines.append(
            f'198.51.{visitor // 250}.{visitor % 250} - - [{stamp} +0000] "{method} {target} HTTP/1.1" {status} 5 '
            f'"{referrer}" "{AGENTS[visitor % 3]}"'
        )
        if rng.random() < 0.01:
            lines.append(rng.choice(["", "garbage", lines[-1][:60], lines[-1].rstrip('"')]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(params=["generated", "real"])
def access_log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A generated log, and the one that the environment variable ACCESS_LOG names."""
    if request.param == "generated":
        return write_log(tmp_path / "access.log", seed=7, requests=6_000)
    if not ACCESS_LOG or not Path(ACCESS_LOG).is_file():
        message = "set ACCESS_LOG to an access log in the combined format to run this on real traffic"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    return Path(ACCESS_LOG)


class Process:
    """A `liveinsight` command as a child process, its output in a file."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liveinsight", *command], env=environ, stdout=output, stderr=output
            )

    def wait_for(self, text: str, times: int = 1, seconds: float = 30) -> None:
        """Wait until the output has `text` so many times."""
        give_up_at = time.monotonic() + seconds
        while self.log.read_text(errors="replace").count(text) < times:
            assert self._process.poll() is None, f"ended early:\n{self.log.read_text(errors='replace')[-3000:]}"
            assert time.monotonic() < give_up_at, f"no {text!r} in time"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL: nothing is written any more."""
        self._process.kill()
        self._process.wait()

    def drain(self) -> int:
        """SIGTERM; the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = 30) -> int:
        """Wait until it ends by itself; the exit code."""
        return self._process.wait(seconds)


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str], settings: Settings) -> Iterator[Callable[..., Process]]:
    """Starts `liveinsight COMMAND` on this test's backend; whatever still runs is killed afterwards."""
    processes: list[Process] = []
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}

    def start_process(*command: str, **changes: str) -> Process:
        log = tmp_path / f"{command[0]}{len(processes)}.log"
        processes.append(Process(list(command), {**base, **environ, **changes}, log))
        return processes[-1]

    yield start_process
    for process in processes:
        process.kill()


def wait_until_counted(store: ReadStore, seconds: float = 60) -> None:
    """Wait until all open shards have counted everything that is on the stream by now."""
    since = system_clock()
    give_up_at = time.monotonic() + seconds
    while True:
        if (freshest_possible(store.read_watermarks().rows) or 0) > since:
            return
        assert time.monotonic() < give_up_at, "the worker did not catch up"
        time.sleep(0.05)


@pytest.fixture
def counted() -> Callable[[ReadStore], None]:
    """Waits until everything on the stream is counted."""
    return wait_until_counted
