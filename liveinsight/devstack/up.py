"""`liveinsight up`: the whole pipeline on this machine, with a demo site and visitors, until Ctrl-C.

Start:  stand-in -> init -> worker, ingest, api (child processes) -> demo site -> visitors
Stop:   visitors -> demo site -> ingest (answers what it has) -> worker (drains) -> api -> stand-in (saves)
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.panel import Panel

from liveinsight.bootstrap import initialise
from liveinsight.devstack.demo_site import DemoSite
from liveinsight.devstack.demo_visitors import Visitors
from liveinsight.devstack.ministack import StandIn, http_status
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.retry import wait_until
from liveinsight.settings import Settings
from liveinsight.sites.repository import load_sites
from liveinsight.wiring import open_store

READY_SECONDS = 60.0
DRAIN_SECONDS = 40.0

QUICK = {"LIVEINSIGHT_COUNTERS_INTERVAL": "0.4", "LIVEINSIGHT_SESSIONS_INTERVAL": "2"}
"""On one machine writes are free, so freshness comes first; the environment may say otherwise."""


@dataclass
class Child:
    """A service as a child process, with its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """SIGTERM, and wait until it has drained."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start_child(name: str, environ: dict[str, str], log_dir: Path) -> Child:
    """Start `liveinsight NAME`; its output goes to a file of its own."""
    log_dir.mkdir(parents=True, exist_ok=True)
    log = log_dir / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "liveinsight", name],
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent.parent,
            # Ctrl-C at the terminal is for us: we stop the children one by one, in order.
            start_new_session=True,
        )
    return Child(name, process, log)


def wait_until_ready(child: Child, port: int) -> None:
    """Wait for a service to answer 200.

    Raises:
        LiveInsightError: it has ended, or does not answer in time.
    """

    def alive() -> bool:
        return child.process.poll() is None

    if not wait_until(lambda: http_status(port, "/readyz") == 200, possible=alive, seconds=READY_SECONDS):
        raise LiveInsightError(f"{child.name} did not come up:\n{_tail(child.log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


def _refuse_taken_ports(settings: Settings) -> None:
    for name, port in (
        ("LIVEINSIGHT_API_PORT", settings.api_port),
        ("LIVEINSIGHT_INGEST_PORT", settings.ingest_port),
        ("LIVEINSIGHT_DEMO_PORT", settings.demo_port),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise LiveInsightError(f"port {port} is taken; set {name} to another") from None


def _summary(worker: Child) -> str:
    """The worker's own last word on what it has counted."""
    for line in reversed(worker.log.read_text(errors="replace").splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("action") == "end":
            return f"{entry['events']} events from {entry['records']} records were counted since the start"
    return "the worker left no summary; see " + str(worker.log)


@dataclass
class Run:
    """What the steps of a run share. `stack` undoes them in reverse, whatever happens."""

    environ: dict[str, str]
    console: Console
    stop: threading.Event
    stack: ExitStack

    @property
    def settings(self) -> Settings:
        """Settings as the children will read them."""
        return Settings.from_env(self.environ)

    def say(self, line: str) -> None:
        """Print a line, indented."""
        self.console.print(f"  {line}")


@click.command()
@click.option("--no-visitors", is_flag=True, help="no demo visitors on the demo site")
@click.option("--endpoint", metavar="URL", help="use the AWS stack at this URL")
@click.option(
    "--aws", is_flag=True, help="use the real AWS with your credentials; it creates a stream and tables, at cost"
)
@click.option("--fresh", is_flag=True, help="do not load the state of an earlier run")
def command(endpoint: str | None, *, no_visitors: bool, aws: bool, fresh: bool) -> int:
    """Run the whole pipeline on this machine: a local AWS stack, ingest, worker, API, and a demo site with visitors.

    Ctrl-C drains and saves. With AWS_ENDPOINT_URL or --endpoint another local stack is used. Logs are in
    <LIVEINSIGHT_DATA_DIR>/logs. Exit code 1: a part has failed.

    \b
    Examples:
      liveinsight up
      liveinsight up --fresh --no-visitors
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    environ = {**({} if aws else QUICK), **os.environ}
    if endpoint:
        environ["AWS_ENDPOINT_URL"] = endpoint
    with ExitStack() as stack:
        run = Run(environ, Console(highlight=False), stop, stack)
        _refuse_taken_ports(run.settings)
        if not aws:
            _find_aws(run, fresh=fresh)
        with run.console.status("creating the stream and the tables"):
            for line in initialise(run.settings):
                run.say(line)
        children = _start_services(run)
        _open_demo(run, visitors=not no_visitors)
        return _watch(run, children)


def _find_aws(run: Run, *, fresh: bool) -> None:
    """Start the stand-in, unless AWS is said to be elsewhere."""
    settings = run.settings
    if settings.endpoint_url or settings.endpoint_url_kinesis or settings.local:
        return
    data_dir = Path(settings.data_dir)
    state = data_dir / "fresh" / str(os.getpid()) if fresh else data_dir / "state"
    with run.console.status("starting the local AWS stand-in"):
        stand_in = StandIn(state)
    run.stack.callback(run.say, f"saved to {state}")
    run.stack.callback(stand_in.stop)
    run.environ["AWS_ENDPOINT_URL"] = stand_in.url


def _start_services(run: Run) -> list[Child]:
    """The API, the worker and ingest. Undone in reverse: ingest stops before the worker, the worker before the API."""
    log_dir = Path(run.settings.data_dir) / "logs"
    children = []
    for name in ("api", "worker", "ingest"):
        child = start_child(name, run.environ, log_dir)
        children.append(child)
        if name == "worker":
            run.stack.callback(_say_summary, run, child)
        run.stack.callback(child.stop)
    with run.console.status("starting ingest, worker and API"):
        for child, port in ((children[2], run.settings.ingest_port), (children[0], run.settings.api_port)):
            wait_until_ready(child, port)
    return children


def _say_summary(run: Run, worker: Child) -> None:
    run.say(_summary(worker))


def _open_demo(run: Run, *, visitors: bool) -> None:
    settings = run.settings
    ingest_url = f"http://127.0.0.1:{settings.ingest_port}"
    dashboard_url = f"http://127.0.0.1:{settings.api_port}"
    demo = DemoSite(settings.demo_port, ingest_url=ingest_url, dashboard_url=dashboard_url)
    run.stack.callback(demo.stop)
    if visitors:
        run.stack.callback(Visitors(ingest_url, demo.url, system_clock).stop)
    site = load_sites(open_store(settings)).default
    tag = f'<script defer src="{ingest_url}/tracker.js" data-site="{site}"></script>'
    run.console.print(
        Panel.fit(
            f"[bold]Dashboard[/]  {dashboard_url}/\n[bold]Demo site[/]  {demo.url}/\n"
            f"[bold]Ingest[/]     {ingest_url}/collect\n\nYour own pages:\n{tag}\n\n{_elsewhere(run)}"
            "Ctrl-C drains and saves.",
            title="LiveInsight is up",
        )
    )


def _elsewhere(run: Run) -> str:
    """How other commands find the stand-in that was started here; it may be at another port than the usual one."""
    if "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL" not in run.environ:
        return ""
    return (
        "import-log, status and the like, in another terminal:\n"
        f"export AWS_ENDPOINT_URL={run.environ['AWS_ENDPOINT_URL']}\n\n"
    )


def _watch(run: Run, children: list[Child]) -> int:
    while not run.stop.wait(0.5):
        for child in children:
            if child.process.poll() is not None:
                run.console.print(f"[red]{child.name} has stopped[/] (exit code {child.process.returncode}):")
                run.console.print(_tail(child.log), markup=False)
                return 1
    run.console.print("draining")
    return 0
