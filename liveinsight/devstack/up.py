"""`liveinsight up`: the whole pipeline on this machine, with a demo site and demo visitors, until Ctrl-C.

Start:  local AWS stack -> init -> api, worker, ingest (child processes) -> demo site -> demo visitors
Stop:   demo visitors -> demo site -> ingest (finishes requests) -> worker (drains) -> api -> local AWS stack (saves)
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.panel import Panel

from liveinsight.bootstrap import initialise
from liveinsight.devstack.child_process import ChildProcess
from liveinsight.devstack.demo_site import DemoSite
from liveinsight.devstack.demo_visitors import DemoVisitors
from liveinsight.devstack.loopback import http_status, is_free
from liveinsight.devstack.ministack import MiniStack
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.sites.repository import load_sites
from liveinsight.wiring import open_store

DRAIN_SECONDS = 40.0

QUICK = {"LIVEINSIGHT_COUNTERS_INTERVAL": "0.4", "LIVEINSIGHT_SESSIONS_INTERVAL": "2"}
"""Writes to the local stack are free, so freshness comes first. The environment overrides it."""
REPOSITORY = Path(__file__).resolve().parent.parent.parent


def _refuse_taken_ports(settings: Settings) -> None:
    for name, port in (
        ("LIVEINSIGHT_API_PORT", settings.api_port),
        ("LIVEINSIGHT_INGEST_PORT", settings.ingest_port),
        ("LIVEINSIGHT_DEMO_PORT", settings.demo_port),
    ):
        if not is_free(port):
            raise LiveInsightError(f"port {port} is taken; set {name} to another")


def _say_summary(run: Run, worker: ChildProcess) -> None:
    """What the worker has counted, by the last line of its log."""
    for line in reversed(worker.log.read_text(errors="replace").splitlines()):
        with suppress(ValueError):
            entry = json.loads(line)
            if entry.get("action") == "end":
                run.say(f"{entry['events']} events from {entry['records']} records were counted since the start")
                return
    run.say(f"the worker left no summary; see {worker.log}")


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
    """Start the local AWS stack, unless the settings name an endpoint."""
    settings = run.settings
    if settings.endpoint_url or settings.endpoint_url_kinesis or settings.local:
        return
    data_dir = Path(settings.data_dir)
    state = data_dir / "fresh" / str(os.getpid()) if fresh else data_dir / "state"
    with run.console.status("starting the local AWS stack"):
        ministack = MiniStack(state)
    run.stack.callback(run.say, f"saved to {state}")
    run.stack.callback(ministack.stop)
    run.environ["AWS_ENDPOINT_URL"] = ministack.url


def _start_services(run: Run) -> list[ChildProcess]:
    """The API, the worker and ingest. Undone in reverse: ingest stops before the worker, the worker before the API."""
    settings, children = run.settings, []
    for name in ("api", "worker", "ingest"):
        log = Path(settings.data_dir).resolve() / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "liveinsight", name]
        child = ChildProcess(name, command, environ=run.environ, log=log, folder=REPOSITORY)
        children.append(child)
        if name == "worker":
            run.stack.callback(_say_summary, run, child)
        run.stack.callback(child.stop, DRAIN_SECONDS)
    api, _, ingest = children
    with run.console.status("starting ingest, worker and API"):
        ingest.wait_until_ready(lambda: http_status(settings.ingest_port, "/readyz") == 200)
        api.wait_until_ready(lambda: http_status(settings.api_port, "/readyz") == 200)
    return children


def _open_demo(run: Run, *, visitors: bool) -> None:
    settings = run.settings
    ingest_url = f"http://127.0.0.1:{settings.ingest_port}"
    dashboard_url = f"http://127.0.0.1:{settings.api_port}"
    demo = DemoSite(settings.demo_port, ingest_url=ingest_url, dashboard_url=dashboard_url)
    run.stack.callback(demo.stop)
    if visitors:
        run.stack.callback(DemoVisitors(ingest_url, demo.url, system_clock).stop)
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
    """How commands in other terminals find the local AWS stack; its port may not be the usual one."""
    if "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL" not in run.environ:
        return ""
    return f"For other commands, in another terminal:\nexport AWS_ENDPOINT_URL={run.environ['AWS_ENDPOINT_URL']}\n\n"


def _watch(run: Run, children: list[ChildProcess]) -> int:
    while not run.stop.wait(0.5):
        for child in children:
            if not child.alive:
                run.console.print(f"[red]{child.name} has stopped[/] (exit code {child.exit_code}):")
                run.console.print(child.last_lines, markup=False)
                return 1
    run.console.print("draining")
    return 0
