"""`liveinsight up`: everything on this machine, until Ctrl-C; with a demo site, or for a small server.

Start:  lock of the data folder -> backend -> init -> api, worker, ingest (child processes) -> demo site and visitors
Stop:   demo visitors -> demo site -> ingest (finishes requests) -> worker (drains) -> api -> local AWS stack (saves)
"""

from __future__ import annotations

import json
import os
import signal
import socket
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
from liveinsight.runtime.folder_lock import HeldLock, held
from liveinsight.settings import Settings
from liveinsight.sites.repository import load_sites
from liveinsight.wiring import open_store

DRAIN_SECONDS = 40.0

QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.4",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "2",
    "LIVEINSIGHT_POLL_INTERVAL": "0.1",
}
"""Reads and writes on this machine are free, so freshness comes first. The environment overrides it."""
SHARED = ("LIVEINSIGHT_BACKEND", "LIVEINSIGHT_DATA_DIR", "AWS_ENDPOINT_URL")
"""Variables by which other commands find the backend of this one."""
REPOSITORY = Path(__file__).resolve().parent.parent.parent


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
@click.option("--production", is_flag=True, help="for a small server: no demo site, no demo visitors")
@click.option("--no-visitors", is_flag=True, help="no demo visitors on the demo site")
@click.option("--stand-in", is_flag=True, help="Kinesis and DynamoDB of a local AWS stack instead of SQLite")
@click.option("--endpoint", metavar="URL", help="use the AWS stack at this URL")
@click.option(
    "--aws", is_flag=True, help="use the real AWS with your credentials; it creates a stream and tables, at cost"
)
@click.option("--fresh", is_flag=True, help="begin empty, in a folder of its own")
def command(
    endpoint: str | None, *, production: bool, no_visitors: bool, stand_in: bool, aws: bool, fresh: bool
) -> int:
    """Run everything on this machine: ingest, worker, API and dashboard, and a demo site with visitors.

    Events are kept and counted in SQLite files in LIVEINSIGHT_DATA_DIR; other commands find them there. With
    --stand-in, --endpoint, AWS_ENDPOINT_URL or --aws it is Kinesis and DynamoDB. A part that ends is started again;
    logs are in <LIVEINSIGHT_DATA_DIR>/logs. Ctrl-C or SIGTERM drains.

    With --production there is no demo. Set LIVEINSIGHT_INGEST_HOST, LIVEINSIGHT_API_HOST and
    LIVEINSIGHT_TRUSTED_PROXIES to fit the proxy in front. docs/one-machine.md has the set-up with systemd, Caddy and
    nginx.

    \b
    Examples:
      liveinsight up
      liveinsight up --fresh --no-visitors
      LIVEINSIGHT_DATA_DIR=/var/lib/liveinsight liveinsight up --production
    """
    if sum((stand_in, aws, bool(endpoint))) > 1:
        raise click.UsageError("give one of --stand-in, --endpoint and --aws")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    environ = {**({} if aws else QUICK), **os.environ}
    if endpoint:
        environ["AWS_ENDPOINT_URL"] = endpoint
    with ExitStack() as stack:
        run = Run(environ, Console(highlight=False), stop, stack)
        lock = _own_data_folder(run, fresh=fresh)
        _refuse_taken_ports(run.settings, demo=not production)
        backend = _choose_backend(run, stand_in=stand_in, aws=aws)
        with run.console.status("creating what is missing"):
            for line in initialise(run.settings):
                run.say(line)
        lock.tell({name: run.environ[name] for name in SHARED if name in run.environ})
        children = _start_services(run)
        _notify_systemd("READY=1")
        _present(run, backend, production=production, visitors=not no_visitors)
        while not run.stop.wait(0.5):
            for child in children:
                child.supervise(run.say)
        _notify_systemd("STOPPING=1")
        run.console.print("draining")
        return 0


def _own_data_folder(run: Run, *, fresh: bool) -> HeldLock:
    """Take the lock of the data folder."""
    folder = Path(run.settings.data_dir).resolve()
    if fresh:
        folder = folder / "fresh" / str(os.getpid())
    run.environ["LIVEINSIGHT_DATA_DIR"] = str(folder)
    return run.stack.enter_context(held(folder / "lock", "liveinsight up", system_clock()))


def _refuse_taken_ports(settings: Settings, *, demo: bool) -> None:
    for name, port in (
        ("LIVEINSIGHT_API_PORT", settings.api_port),
        ("LIVEINSIGHT_INGEST_PORT", settings.ingest_port),
        *([("LIVEINSIGHT_DEMO_PORT", settings.demo_port)] if demo else []),
    ):
        if not is_free(port):
            raise LiveInsightError(f"port {port} is taken; set {name} to another")


def _choose_backend(run: Run, *, stand_in: bool, aws: bool) -> str:
    """Start the local AWS stack, if that is asked for; returns a line of text about the backend."""
    if stand_in:
        folder = Path(run.settings.data_dir) / "stand-in"
        with run.console.status("starting the local AWS stack"):
            ministack = MiniStack(folder)
        run.stack.callback(run.say, f"saved to {folder}")
        run.stack.callback(ministack.stop)
        run.environ["AWS_ENDPOINT_URL"] = ministack.url
    if aws or run.settings.on_aws:
        run.environ["LIVEINSIGHT_BACKEND"] = "aws"
        where = f"{run.environ.get('AWS_ENDPOINT_URL', 'AWS')}, Kinesis and DynamoDB"
        kept = "; it keeps its state at a clean end only" if stand_in else ""
        return f"{where}{kept}. Without options it is SQLite."
    run.environ["LIVEINSIGHT_BACKEND"] = "sqlite"
    return f"SQLite in {run.settings.data_dir}. --stand-in has Kinesis and DynamoDB."


def _start_services(run: Run) -> list[ChildProcess]:
    """The API, the worker and ingest. Undone in reverse: ingest stops before the worker, the worker before the API."""
    settings, children = run.settings, []
    for name in ("api", "worker", "ingest"):
        log = Path(settings.data_dir) / "logs" / f"{name}.log"
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


def _say_summary(run: Run, worker: ChildProcess) -> None:
    """What the worker has counted, by the last line of its log."""
    for line in reversed(worker.log.read_text(errors="replace").splitlines()):
        with suppress(ValueError):
            entry = json.loads(line)
            if entry.get("action") == "end":
                run.say(f"{entry['events']} events from {entry['records']} records were counted since the start")
                return
            if entry.get("action") == "begin":
                break
    run.say(f"the worker left no summary; see {worker.log}")


def _present(run: Run, backend: str, *, production: bool, visitors: bool) -> None:
    settings = run.settings
    ingest_url = f"http://127.0.0.1:{settings.ingest_port}"
    dashboard_url = f"http://127.0.0.1:{settings.api_port}"
    lines = [f"[bold]Dashboard[/]  {dashboard_url}/", f"[bold]Ingest[/]     {ingest_url}/collect"]
    if not production:
        demo = DemoSite(settings.demo_port, ingest_url=ingest_url, dashboard_url=dashboard_url)
        run.stack.callback(demo.stop)
        if visitors:
            run.stack.callback(DemoVisitors(ingest_url, demo.url, system_clock).stop)
        lines.insert(1, f"[bold]Demo site[/]  {demo.url}/")
        site = load_sites(open_store(settings)).default
        tag = f'<script defer src="{ingest_url}/tracker.js" data-site="{site}"></script>'
        lines += ["", "Your own pages:", tag]
    lines += ["", f"Backend: {backend}", f"Logs: {settings.data_dir}/logs", "Ctrl-C drains."]
    run.console.print(Panel.fit("\n".join(lines), title="LiveInsight is up"))


def _notify_systemd(state: str) -> None:
    """Tell systemd, if it has started us (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.sendall(state.encode())
