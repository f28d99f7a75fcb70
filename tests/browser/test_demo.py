"""`make demo` from a fresh clone, looked at in a real browser: what a newcomer does first."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PEOPLE_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
"""The headless browser says what it is, and is no visitor; this one is."""
READY_WITHIN = 180.0
SHOWN_WITHIN = 2.0


@dataclass
class Demo:
    """A running demo: where it is, and how long it took from nothing."""

    dashboard: str
    site: str
    seconds: float
    output: Path


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[Demo]:
    """A clone of the last commit, with `make demo` running in it."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None or shutil.which("make") is None:
        pytest.skip("needs git, make and a git checkout, to clone it afresh")
    clone = tmp_path_factory.mktemp("clone") / "liveinsight"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    api, ingest, site = free_ports(3)
    output = clone / "demo.out"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    environ |= {
        "LIVEINSIGHT_API_PORT": str(api),
        "LIVEINSIGHT_INGEST_PORT": str(ingest),
        "LIVEINSIGHT_DEMO_PORT": str(site),
    }
    began = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["make", "demo", "ARGS=--no-visitors"],
            cwd=clone,
            env=environ,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        while "LiveInsight is up" not in output.read_text(errors="replace"):
            assert process.poll() is None, output.read_text(errors="replace")
            assert time.monotonic() - began < READY_WITHIN, output.read_text(errors="replace")
            time.sleep(0.2)
        yield Demo(f"http://127.0.0.1:{api}/", f"http://127.0.0.1:{site}/", time.monotonic() - began, output)
    finally:
        # Ctrl-C at a terminal reaches make and what it runs.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def test_demo_is_up_within_three_minutes(demo: Demo) -> None:
    """From a clone without anything installed, the dashboard is there in under three minutes."""
    print(f"from clone to dashboard: {demo.seconds:.0f} s")
    assert demo.seconds < READY_WITHIN


def test_other_commands_find_the_demo(demo: Demo) -> None:
    """Another terminal in the same folder needs nothing else."""
    command = demo.output.parent / ".venv" / "bin" / "liveinsight"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    done = subprocess.run(
        [command, "status"], cwd=demo.output.parent, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "healthy"


@pytest.mark.alone
def test_page_view_shows_within_two_seconds(demo: Demo, chromium: Any, tmp_path: Path) -> None:
    """A visit to the demo site is on the open dashboard within two seconds, and so is its path through the site."""
    problems: list[str] = []
    dashboard = chromium.new_page(viewport={"width": 1400, "height": 1000})
    dashboard.on("pageerror", lambda error: problems.append(str(error)))
    dashboard.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    dashboard.goto(demo.dashboard)
    people = dashboard.get_by_test_id("people-now")
    number = re.compile(r"\d+")
    before = int((number.search(people.inner_text()) or [0])[0])
    visitor = chromium.new_context(user_agent=PEOPLE_AGENT).new_page()
    visitor.on("pageerror", lambda error: problems.append(str(error)))
    # From the moment the page is there: its script has not run yet.
    visitor.goto(demo.site, wait_until="commit")
    began = time.monotonic()
    while int((number.search(people.inner_text()) or [0])[0]) <= before:
        assert time.monotonic() - began < SHOWN_WITHIN, "the visit is not on the dashboard in time"
        time.sleep(0.02)
    print(f"from page view to dashboard: {time.monotonic() - began:.2f} s")
    visitor.goto(demo.site + "menu.html")
    pages = dashboard.get_by_test_id("pages")
    pages.get_by_text("/menu.html").first.wait_for(timeout=15_000)
    dashboard.get_by_test_id("sessions").get_by_text("/menu.html").first.wait_for(timeout=15_000)
    picture = tmp_path / "dashboard.png"
    dashboard.screenshot(path=str(picture), full_page=True)
    assert picture.stat().st_size > 20_000
    dashboard.get_by_test_id("sessions").get_by_text("/menu.html").first.click()
    events = dashboard.get_by_test_id("session-events")
    events.get_by_text("/menu.html").first.wait_for(timeout=10_000)
    assert problems == []
