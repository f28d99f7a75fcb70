"""`liveinsight up` and `liveinsight local` as a person starts and stops them: what they print, and what they keep."""

from __future__ import annotations

import configparser
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from liveinsight.devstack.loopback import free_port
from liveinsight.testing.resharding_stack import JAVA_TOOLS, NODE_TOOLS, missing

ROOT = Path(__file__).parents[3]
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


class Running:
    """A command in a process of its own, its output in a file."""

    def __init__(self, command: list[str], environ: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liveinsight", *command], env=environ, stdout=file, stderr=file
            )

    @property
    def said(self) -> str:
        """All of its output."""
        return self._output.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Until it has said this."""
        give_up_at = time.monotonic() + 180
        while text not in self.said:
            assert self._process.poll() is None, self.said
            assert time.monotonic() < give_up_at, self.said
            time.sleep(0.1)

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(90)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


Start = Callable[..., Running]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Ports and a folder of its own."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    ports = {f"LIVEINSIGHT_{name}_PORT": str(free_port()) for name in ("API", "INGEST", "DEMO")}
    return {**base, **ports, "LIVEINSIGHT_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "200"}


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str]) -> Iterator[Start]:
    """Starts `liveinsight ...`; whatever still runs in the end is stopped."""
    running: list[Running] = []

    def begin(*command: str) -> Running:
        running.append(Running(list(command), environ, tmp_path / f"{len(running)}.out"))
        return running[-1]

    yield begin
    for one in running:
        if one._process.poll() is None:
            one.interrupt()
        one.kill()


def three_free_ports() -> int:
    """The first of three in a row, below those that outgoing connections are given."""
    for port in random.sample(range(20_000, 32_000), 100):
        with ExitStack() as stack, suppress(OSError):
            for number in range(port, port + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
    raise AssertionError("no three ports in a row are free")


def ask(port: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    headers = {"Content-Type": "application/json", "User-Agent": AGENT}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    told = answer.status, json.loads(answer.read())
    connection.close()
    return told


def exported(text: str) -> dict[str, str]:
    """What it says that other programs need."""
    return dict(re.findall(r"export (AWS_\w+)=(\S+)", text))


def run(environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liveinsight", *command], env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.end_to_end
def test_up_saves_at_ctrl_c_and_goes_on(start: Start, environ: dict[str, str]) -> None:
    """Ctrl-C counts what was taken, says how much that was and where it is kept; the second start shows it. Another
    terminal finds it with what it prints."""
    first = start("up", "--no-visitors")
    first.wait_for("LiveInsight is up")
    views = [{"event_type": "page_view", "page_url": f"https://shop.example/{n}", "user_id": "u"} for n in range(3)]
    assert ask(environ["LIVEINSIGHT_INGEST_PORT"], "POST", "/collect", views)[0] == 202
    status = run({**environ, **exported(first.said)}, "status")
    assert status.returncode == 0, status.stderr
    assert first.interrupt() == 0, first.said
    assert "3 events from" in first.said
    assert f"saved to {environ['LIVEINSIGHT_DATA_DIR']}" in first.said
    second = start("up", "--no-visitors")
    second.wait_for("LiveInsight is up")
    assert "stream liveinsight-events is there" in second.said
    assert "created" not in second.said
    question = "/v1/sites/default/totals?period=24h"
    assert ask(environ["LIVEINSIGHT_API_PORT"], "GET", question)[1]["data"]["pageviews"] == 3
    assert second.interrupt() == 0, second.said


@pytest.mark.end_to_end
@pytest.mark.parametrize("options", [(), ("--faithful",)], ids=["MiniStack", "faithful"])
def test_local_tells_others_where_it_is_and_keeps_its_state(
    start: Start, environ: dict[str, str], options: tuple[str, ...]
) -> None:
    """Its export lines are all that other commands need; Ctrl-C saves, and the next start finds stream and tables."""
    if options and (problem := missing(NODE_TOOLS) or missing(JAVA_TOOLS)):
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    command = ("local", "--port", str(three_free_ports()), *options)
    first = start(*command)
    first.wait_for("Ctrl-C saves")
    others = {**environ, **exported(first.said)}
    assert "stream liveinsight-events created" in first.said
    assert "stream liveinsight-events is there" in run(others, "init").stdout
    status = run(others, "status")
    assert (status.returncode, status.stderr) == (0, "")
    assert first.interrupt() == 0
    assert "saved to" in first.said
    second = start(*command)
    second.wait_for("Ctrl-C saves")
    assert "stream liveinsight-events is there" in second.said
    assert second.interrupt() == 0


def test_faithful_needs_a_checkout(tmp_path: Path, environ: dict[str, str]) -> None:
    """What users install has no test machinery: the option says what it needs."""
    script = (
        "import sys; sys.modules['liveinsight.testing.resharding_stack'] = None; "
        "from liveinsight.__main__ import main; sys.exit(main(['local', '--faithful', '--port', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(three_free_ports())],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "liveinsight local: --faithful needs a checkout of the repository\n")


def test_test_machinery_is_in_no_wheel() -> None:
    """setup.cfg leaves it out, and takes everything else."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    include, exclude = (setup["options.packages.find"][name].split() for name in ("include", "exclude"))
    roots = ("liveinsight", "ingest", "processor", "api", "tests", "bench")
    folders = [path.parent.relative_to(ROOT) for root in roots for path in (ROOT / root).rglob("*.py")]
    packages = {".".join(folder.parts) for folder in folders}
    packages = {name for name in packages if any(fnmatchcase(name, pattern) for pattern in include)}
    packages = {name for name in packages if not any(fnmatchcase(name, pattern) for pattern in exclude)}
    assert "liveinsight.devstack" in packages
    assert not [name for name in packages if "testing" in name or name.startswith(("tests", "bench"))]
