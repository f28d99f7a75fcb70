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

    def __init__(self, command: list[str], environ: dict[str, str], output: Path, folder: Path = ROOT) -> None:
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liveinsight", *command],
                env={**environ, "PYTHONPATH": str(ROOT)},
                cwd=folder,
                stdout=file,
                stderr=file,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

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

    def begin(*command: str, folder: Path = ROOT) -> Running:
        running.append(Running(list(command), environ, tmp_path / f"{len(running)}.out", folder))
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


def ask(port: str, method: str, path: str, body: object = None, host: str = "127.0.0.1") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
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


TOTALS = "/v1/sites/default/totals?period=24h"


def send_views(environ: dict[str, str], count: int, visitor: str) -> None:
    for first in range(0, count, 50):
        urls = [f"https://shop.example/{number}" for number in range(first, min(count, first + 50))]
        views = [{"event_type": "page_view", "page_url": url, "user_id": visitor} for url in urls]
        assert ask(environ["LIVEINSIGHT_INGEST_PORT"], "POST", "/collect", views)[0] == 202


def eventually_counted(environ: dict[str, str], views: int) -> None:
    give_up_at = time.monotonic() + 30
    while (counted := ask(environ["LIVEINSIGHT_API_PORT"], "GET", TOTALS)[1]["data"]["pageviews"]) != views:
        assert counted < views
        assert time.monotonic() < give_up_at, f"{counted} of {views} page views are counted"
        time.sleep(0.1)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in below for each in tree(int(child)))]


def memory_kb(pid: int) -> int:
    """Of a process and all below it; what they share counts once."""
    lines = [line for each in tree(pid) for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    """That a process and all below it have used."""
    stats = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in tree(pid)]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def called(pid: int, name: str) -> int:
    """The child of `up` that runs `liveinsight <name>`."""
    return next(
        each for each in tree(pid) if Path(f"/proc/{each}/cmdline").read_bytes().endswith(f"\0{name}\0".encode())
    )


@pytest.mark.end_to_end
@pytest.mark.parametrize("options", [(), ("--stand-in",)], ids=["SQLite", "stand-in"])
def test_up_goes_on_after_ctrl_c(start: Start, environ: dict[str, str], options: tuple[str, ...]) -> None:
    """Ctrl-C counts what was taken, and says how much that was; the second start shows it. Commands in other terminals
    find its backend by themselves."""
    first = start("up", "--no-visitors", *options)
    first.wait_for("LiveInsight is up")
    assert ("backend: SQLite in" in first.said) != bool(options)
    send_views(environ, 3, "u")
    status = run(environ, "status")
    assert (status.returncode, status.stderr) == (0, "")
    assert "Europe/Rome" in run(environ, "site", "edit", "default", "--time-zone", "Europe/Rome").stdout
    assert first.interrupt() == 0, first.said
    assert "3 events from" in first.said
    second = start("up", "--no-visitors", *options)
    second.wait_for("LiveInsight is up")
    assert "created" not in second.said
    eventually_counted(environ, 3)
    answer = ask(environ["LIVEINSIGHT_API_PORT"], "GET", TOTALS)[1]
    assert answer["meta"]["time_zone"] == "Europe/Rome"
    assert second.interrupt() == 0, second.said


@pytest.mark.end_to_end
@pytest.mark.parametrize("options", [(), ("--stand-in",)], ids=["SQLite", "stand-in"])
def test_nothing_outlives_a_killed_up(start: Start, environ: dict[str, str], options: tuple[str, ...]) -> None:
    """`up` is killed, and with it every process below it ends. The next start, at once, waits for that and counts all
    that was accepted."""
    first = start("up", "--no-visitors", *options)
    first.wait_for("LiveInsight is up")
    send_views(environ, 200, "u")
    processes = tree(first.pid)[1:]
    first.kill()
    second = start("up", "--no-visitors", *options)
    second.wait_for("LiveInsight is up")
    give_up_at = time.monotonic() + 20
    while left := [pid for pid in processes if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < give_up_at, left
        time.sleep(0.1)
    eventually_counted(environ, 200)
    assert second.interrupt() == 0, second.said


@pytest.mark.end_to_end
def test_a_folder_has_one_owner_and_a_port_one_server(start: Start, environ: dict[str, str]) -> None:
    """A second `up` and a second worker on one data folder, and a second server on one port, say what is in the way and
    end; the first goes on."""
    first = start("up", "--no-visitors")
    first.wait_for("LiveInsight is up")
    others = {name: str(free_port()) for name in environ if name.endswith("_PORT")}
    for command in ("up", "worker"):
        done = run({**environ, **others}, command)
        assert done.returncode == 1
        assert f"is in use by `liveinsight {command}` (process " in done.stderr
    for name in ("api", "ingest"):
        done = run(environ, name)
        setting = f"LIVEINSIGHT_{name.upper()}_PORT"
        port = environ[setting]
        assert (done.returncode, done.stderr) == (
            1, f"liveinsight {name}: {setting}={port}: cannot listen on 127.0.0.1:{port}: Address already in use\n",
        )  # fmt: skip
    send_views(environ, 2, "u")
    eventually_counted(environ, 2)
    assert first.interrupt() == 0, first.said


@pytest.mark.end_to_end
def test_production_starts_again_what_has_died(start: Start, environ: dict[str, str]) -> None:
    """Killed one after the other, worker, ingest and API come back, and everything that was accepted is counted. There
    is no demo site."""
    server = start("up", "--production")
    server.wait_for("LiveInsight is up")
    assert "Demo site" not in server.said
    accepted = 0
    for name in ("worker", "ingest", "api"):
        send_views(environ, 50, name)
        accepted += 50
        os.kill(called(server.pid, name), signal.SIGKILL)
        server.wait_for(f"{name} has ended with code -9")
        give_up_at = time.monotonic() + 30
        while True:
            assert time.monotonic() < give_up_at
            with suppress(OSError, http.client.HTTPException, AssertionError, StopIteration):
                called(server.pid, name)
                send_views(environ, 10, f"{name} again")
                accepted += 10
                break
            time.sleep(0.1)
    give_up_at = time.monotonic() + 30
    while True:
        with suppress(OSError, http.client.HTTPException):
            eventually_counted(environ, accepted)
            break
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    assert server.interrupt() == 0, server.said


@pytest.mark.end_to_end
def test_production_listens_where_it_is_told(start: Start, environ: dict[str, str], tmp_path: Path) -> None:
    """Services listen at the hosts of the settings, and nowhere else. Relative paths begin where `up` was started, and
    packages of the names of ours that are there are not ours."""
    here = tmp_path / "here"
    for name in ("api", "ingest", "processor"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    (here / "ranges.txt").write_text("192.0.2.0/24\n")
    environ |= {"LIVEINSIGHT_API_HOST": "127.0.0.2", "LIVEINSIGHT_INGEST_HOST": "127.0.0.3"}
    environ |= {"LIVEINSIGHT_DATACENTRES": "ranges.txt", "LIVEINSIGHT_DATA_DIR": "data"}
    server = start("up", "--production", folder=here)
    server.wait_for("LiveInsight is up")
    for name, host in (("API", "127.0.0.2"), ("INGEST", "127.0.0.3")):
        port = environ[f"LIVEINSIGHT_{name}_PORT"]
        assert f"http://{host}:{port}/" in server.said
        assert ask(port, "GET", "/healthz", host=host)[0] == 200
        with pytest.raises(ConnectionRefusedError):
            ask(port, "GET", "/healthz")
    assert (here / "data" / "stream.db").exists()
    assert server.interrupt() == 0, server.said


@pytest.mark.end_to_end
def test_systemd_is_told(start: Start, environ: dict[str, str], tmp_path: Path) -> None:
    """`up` says when requests are answered, and when it begins to stop. Told to stop while it starts, it does."""
    environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(environ["NOTIFY_SOCKET"])
        notify.settimeout(60)
        server = start("up", "--production")
        assert notify.recv(100) == b"READY=1"
        assert ask(environ["LIVEINSIGHT_INGEST_PORT"], "GET", "/readyz")[0] == 200
        assert ask(environ["LIVEINSIGHT_API_PORT"], "GET", "/readyz")[0] == 200
        assert server.interrupt() == 0, server.said
        assert notify.recv(100) == b"STOPPING=1"
        early = start("up", "--production")
        early.wait_for("store.db is there")
        assert early.interrupt() == 0, early.said
        assert "LiveInsight is up" not in early.said


@pytest.mark.end_to_end
@pytest.mark.alone
def test_production_is_small_and_quick(start: Start, environ: dict[str, str]) -> None:
    """It takes requests within 3 seconds of its start. After some visitors its processes have less than 300 MB
    together, need less than 2 % of a core while nobody comes, and show an event within a second."""
    starts = []
    for _ in range(3):
        began = time.monotonic()
        server = start("up", "--production")
        server.wait_for("LiveInsight is up")
        starts.append(time.monotonic() - began)
        if starts[-1] < 3:
            break
        server.interrupt()
    waits = []
    for number in range(20):
        began = time.monotonic()
        send_views(environ, 1, f"visitor {number}")
        eventually_counted(environ, number + 1)
        waits.append(time.monotonic() - began)
    time.sleep(3)
    before, began = cpu_seconds(server.pid), time.monotonic()
    time.sleep(10)
    share = (cpu_seconds(server.pid) - before) / (time.monotonic() - began)
    print(f"starts {starts}, event to API {sorted(waits)}, {memory_kb(server.pid)} kB, {share:.1%} of a core")
    assert min(starts) < 3
    assert sorted(waits)[-2] < 1
    assert memory_kb(server.pid) < 300_000
    assert share < 0.02
    assert server.interrupt() == 0, server.said


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
