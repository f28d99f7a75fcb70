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
from functools import partial
from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.panel import Panel

from liveinsight.bootstrap import initialise
from liveinsight.devstack.child_process import ChildProcess
from liveinsight.devstack.chosen_backend import Options, choose, description, in_the_cloud
from liveinsight.devstack.demo_site import DemoSite
from liveinsight.devstack.demo_visitors import DemoVisitors
from liveinsight.devstack.loopback import http_status
from liveinsight.model.clock import system_clock
from liveinsight.runtime.folder_lock import DATA_LOCK, WORKER_LOCK, Holder, held, holder_of
from liveinsight.runtime.listening import problem_at, reached_at, refuse_taken_port, url_at
from liveinsight.runtime.retry import wait_until
from liveinsight.settings import BACKEND_VARIABLES, Settings
from liveinsight.sites.repository import load_sites
from liveinsight.wiring import open_backend, open_store

DRAIN_SECONDS = 40.0

QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.4",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "2",
    "LIVEINSIGHT_POLL_INTERVAL": "0.1",
}
"""Reads and writes on this machine are free, so freshness comes first. The environment overrides it."""
SHARED = (*BACKEND_VARIABLES, "AWS_REGION", "AWS_DEFAULT_REGION", "LIVEINSIGHT_DATA_DIR")
"""Variables by which other commands find the backend of this one."""
REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass
class Run:
    """What the steps of a run share. `stack` undoes them in reverse, whatever happens."""

    console: Console
    stop: threading.Event
    stack: ExitStack
    environ: dict[str, str]
    """Of the services."""
    logs: Path

    @property
    def settings(self) -> Settings:
        """Settings as the services read them."""
        return Settings.from_env(self.environ)

    def say(self, line: str) -> None:
        """Print a line, indented."""
        self.console.print(f"  {line}", markup=False, soft_wrap=True)


@click.command()
@click.option("--production", is_flag=True, help="for a small server: no demo site, no demo visitors")
@click.option("--no-visitors", is_flag=True, help="no demo visitors on the demo site")
@click.option("--stand-in", is_flag=True, help="instead of SQLite, a stand-in for Kinesis and DynamoDB on this machine")
@click.option("--endpoint", metavar="URL", help="use the AWS stack at this URL")
@click.option("--aws", is_flag=True, help="use AWS with your credentials; it creates a stream and tables, at cost")
@click.option("--fresh", is_flag=True, help="begin empty, and keep nothing")
def command(
    endpoint: str | None, *, production: bool, no_visitors: bool, stand_in: bool, aws: bool, fresh: bool
) -> int:
    """Run everything on this machine: ingest, worker, API and dashboard, and a demo site with visitors.

    Events are kept and counted in SQLite files in LIVEINSIGHT_DATA_DIR, unless an option or the environment names
    another backend (LIVEINSIGHT_BACKEND, AWS_ENDPOINT_URL). Other commands find it while it runs. A part that ends is
    started again; logs are in <LIVEINSIGHT_DATA_DIR>/logs. Ctrl-C or SIGTERM drains.

    With --production there is no demo. Set LIVEINSIGHT_INGEST_HOST, LIVEINSIGHT_API_HOST and
    LIVEINSIGHT_TRUSTED_PROXIES to fit the proxy in front. docs/one-machine.md has the set-up with systemd, Caddy and
    nginx.

    \b
    Examples:
      liveinsight up
      liveinsight up --fresh --no-visitors
      LIVEINSIGHT_DATA_DIR=/var/lib/liveinsight liveinsight up --production
    """
    options = Options(stand_in=stand_in, aws=aws, endpoint=endpoint, fresh=fresh)
    settings = Settings.from_env(os.environ)
    options.check(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        run = Run(Console(highlight=False), stop, stack, {}, Path(settings.data_dir).resolve() / "logs")
        _start_backend(run, options, settings, demo=not production)
        children = _start_services(run)
        if not stop.is_set():
            _notify_systemd("READY=1")
            _present(run, options, production=production, visitors=not no_visitors)
        while not stop.wait(0.5):
            for child in children:
                child.supervise(run.say)
        _notify_systemd("STOPPING=1")
        run.console.print("draining")
    return 0


def _start_backend(run: Run, options: Options, settings: Settings, *, demo: bool) -> None:
    """Take the lock of the data folder, start the backend, and create what is missing."""
    folder = Path(settings.data_dir).resolve()
    lock = run.stack.enter_context(held(folder / DATA_LOCK, "liveinsight up", system_clock()))
    if lock.killed:
        with run.console.status("an earlier run was killed: waiting for its parts to end"):
            _await_end(lock.killed, settings, run.stop, stand_in=options.stand_in)
    _refuse_taken_ports(settings, demo=demo)
    if options.fresh:
        folder = Path(run.stack.enter_context(TemporaryDirectory(prefix="liveinsight-")))
    with run.console.status("starting the backend"):
        run.environ = choose(options, os.environ, folder, run.stack, run.say)
        if not in_the_cloud(run.settings):
            run.environ = {**QUICK, **run.environ}
        for line in initialise(run.settings):
            run.say(line)
    lock.tell({name: run.environ[name] for name in SHARED if name in run.environ})


def _await_end(killed: Holder, settings: Settings, stop: threading.Event, *, stand_in: bool) -> None:
    """Wait until what a killed `up` has started has ended, too: it drains, and the stand-in for AWS saves."""
    addresses = [(settings.api_host, settings.api_port), (settings.ingest_host, settings.ingest_port)]
    if stand_in and (port := urlsplit(killed.environ.get("AWS_ENDPOINT_URL", "")).port):
        addresses.append(("127.0.0.1", port))
    worker = Path(settings.data_dir) / WORKER_LOCK
    wait_until(
        lambda: not any(starmap(problem_at, addresses)) and not holder_of(worker),
        possible=lambda: not stop.is_set(),
        seconds=DRAIN_SECONDS,
    )


def _refuse_taken_ports(settings: Settings, *, demo: bool) -> None:
    refuse_taken_port(settings.api_host, settings.api_port, "LIVEINSIGHT_API_PORT")
    refuse_taken_port(settings.ingest_host, settings.ingest_port, "LIVEINSIGHT_INGEST_PORT")
    if demo:
        refuse_taken_port("127.0.0.1", settings.demo_port, "LIVEINSIGHT_DEMO_PORT")


def _start_services(run: Run) -> list[ChildProcess]:
    """The API, the worker and ingest. Undone in reverse: ingest stops before the worker, the worker before the API."""
    settings, children = run.settings, []
    # They find our packages as this process does, and never those of the same name in the folder where it was started.
    path = os.pathsep.join(filter(None, (str(REPOSITORY), run.environ.get("PYTHONPATH"))))
    for name in ("api", "worker", "ingest"):
        command = [sys.executable, "-P", "-m", "liveinsight", name]
        child = ChildProcess(name, command, environ={**run.environ, "PYTHONPATH": path}, log=run.logs / f"{name}.log")
        children.append(child)
        if name == "worker":
            run.stack.callback(_say_summary, run, child)
        run.stack.callback(child.stop, DRAIN_SECONDS)
    api, _, ingest = children
    with run.console.status("starting ingest, worker and API"):
        ingest.wait_until_ready(partial(_is_ready, run, settings.ingest_host, settings.ingest_port))
        api.wait_until_ready(partial(_is_ready, run, settings.api_host, settings.api_port))
    return children


def _is_ready(run: Run, host: str, port: int) -> bool:
    return run.stop.is_set() or http_status(port, "/readyz", reached_at(host)) == 200


def _say_summary(run: Run, worker: ChildProcess) -> None:
    """What the worker has counted, by the last line of its log."""
    for line in reversed(list(worker.last_lines)):
        with suppress(ValueError):
            entry = json.loads(line)
            if entry.get("action") == "end":
                run.say(f"{entry['events']} events from {entry['records']} records were counted since the start")
                return
    run.say(f"the worker left no summary; see {worker.log}")


def _present(run: Run, options: Options, *, production: bool, visitors: bool) -> None:
    settings = run.settings
    ingest_url = url_at(settings.ingest_host, settings.ingest_port)
    dashboard_url = url_at(settings.api_host, settings.api_port)
    lines = [f"[bold]Dashboard[/]  {dashboard_url}/", f"[bold]Ingest[/]     {ingest_url}/collect"]
    if not production:
        demo = DemoSite(settings.demo_port, ingest_url=ingest_url, dashboard_url=dashboard_url)
        run.stack.callback(demo.stop)
        if visitors:
            run.stack.callback(DemoVisitors(ingest_url, demo.url, system_clock).stop)
        lines.insert(1, f"[bold]Demo site[/]  {demo.url}/")
    lines += [f"[bold]Logs[/]       {run.logs}", "", "Ctrl-C drains and ends."]
    run.console.print(Panel.fit("\n".join(lines), title="LiveInsight is up"))
    run.say(f"backend: {description(options, settings, open_backend(settings).place)}")
    if not production:
        site = load_sites(open_store(settings)).default
        run.say(f'for your own pages: <script defer src="{ingest_url}/tracker.js" data-site="{site}"></script>')


def _notify_systemd(state: str) -> None:
    """Tell systemd, if it has started us (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.sendall(state.encode())
