"""`liveinsight import-log`: imports page views from the access logs of a web server.

In: log files. Out: events with their original times on the stream, through the pipeline of live events. A visitor is
the keyed hash of address and user agent. The salt is random for each import and never stored; nor is an address.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ingest.delivery.group_commit import GroupCommit, Retries
from ingest.enrichment.datacentres import load_data_centres
from ingest.enrichment.geo import open_geo_database
from ingest.importer.access_log import MALFORMED, PageRequest, PageRules, page_requests, parse_lines
from ingest.pipeline.cardinality import ValueGuard
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.payload import Payload
from ingest.pipeline.pipeline import Outcome, Pipeline
from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import SettingsError, StreamUnavailable
from liveinsight.model.events import PAGE_VIEW
from liveinsight.settings import Settings
from liveinsight.sites.repository import load_sites
from liveinsight.sites.site import Site, Sites
from liveinsight.sites.viewing import Viewing
from liveinsight.storage.store import ReadStore
from liveinsight.storage.watermarks import freshest_previews
from liveinsight.wiring import open_newest_store, open_store, open_stream

LINES_PER_BATCH = 5_000
SHOWN_BAD_LINES = 5
OUTAGE_SECONDS = 120.0
"""The import gives up when the stream refuses records for so long."""
WAIT_SECONDS = 600.0

# Finds IPv4 and IPv6 addresses in bad lines, which are shown without them.
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w/:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?!\w)")


@dataclass
class Summary:
    """Counts of lines by outcome, and the first bad lines."""

    lines: int = 0
    sent: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    bad_lines: list[str] = field(default_factory=list)
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Target:
    """What the events are given: their site, and the address of the pages the log is about ("" if unknown)."""

    site: str
    base_url: str


class Importer:
    """Sends the lines of logs, batch by batch."""

    def __init__(self, pipeline: Pipeline, rules: PageRules, target: Target, clock: Clock) -> None:
        self._pipeline = pipeline
        self._rules = rules
        self._target = target
        self._clock = clock
        self.summary = Summary()

    def send(self, name: str, lines: Sequence[str]) -> None:
        """Send the page views among the next lines of a log.

        Raises:
            StreamUnavailable: the stream refused for longer than the importer waits.
        """
        frame = parse_lines(lines, self._rules)
        first_line = self.summary.lines + 1
        self.summary.lines += len(frame)
        self.summary.skipped.update(frame.loc[frame["skip"] != "", "skip"].tolist())
        malformed = frame.index[frame["skip"] == MALFORMED].tolist()
        for index in malformed[: SHOWN_BAD_LINES - len(self.summary.bad_lines)]:
            self.summary.bad_lines.append(f"line {first_line + index}: {hide_addresses(lines[index])[:160]}")
        requests = page_requests(frame)
        if not requests:
            return
        received_at = self._clock()
        outcome = self._pipeline.collect_each(
            (
                self._payload(request, f"{name}:{first_line + request.line}"),
                Context(received_at, client_address=request.address, user_agent=request.user_agent),
            )
            for request in requests
        )
        self._note(outcome)
        moments = [request.occurred_at for request in requests]
        self.summary.first = min(self.summary.first or moments[0], *moments)
        self.summary.last = max(self.summary.last, *moments)

    def _payload(self, request: PageRequest, line_id: str) -> Payload:
        from_root = request.target.startswith("/")
        return Payload(
            event_type=PAGE_VIEW,
            id=line_id,
            site=self._target.site,
            timestamp=request.occurred_at,
            page_url=self._target.base_url + request.target if from_root else request.target,
            referrer=request.referrer,
        )

    def _note(self, outcome: Outcome) -> None:
        self.summary.sent += len(outcome.accepted)
        self.summary.skipped.update(str(dropped.reason) for dropped in outcome.dropped)
        self.summary.skipped.update(refused.error.reason for refused in outcome.refused)


def hide_addresses(text: str) -> str:
    """`text` with everything that looks like an IP address taken out."""
    return _ADDRESS.sub("<address>", text.rstrip("\n"))


def log_identity(path: str) -> str:
    """Names a log in event ids by its content's beginning, so that the same lines get the same ids."""
    if path == "-":
        return os.urandom(8).hex()
    with Path(path).open("rb") as file:
        return blake2b(file.read(65_536), digest_size=8).hexdigest()


@contextmanager
def _opened(path: str, progress: Progress) -> Iterator[IO[bytes]]:
    if path == "-":
        progress.add_task("standard input", total=None)
        yield sys.stdin.buffer
        return
    file: BinaryIO
    with progress.open(path, "rb", description=Path(path).name) as file:
        if file.read(2) == b"\x1f\x8b":
            file.seek(0)
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            file.seek(0)
            yield file


def _batches(file: IO[bytes]) -> Iterator[list[str]]:
    lines = (line.decode("utf-8", "replace") for line in file)
    while batch := list(islice(lines, LINES_PER_BATCH)):
        yield batch


def wait_until_counted(store: ReadStore, site: str, since: int, clock: Clock, console: Console) -> bool:
    """Wait until the worker's watermarks say that all events of `site` sent before `since` are shown."""
    give_up_at = clock() + round(WAIT_SECONDS * 1000)
    with console.status("waiting for the worker to count"):
        while clock() < give_up_at:
            if (freshest_previews(store.read_watermarks().rows, site) or 0) > since:
                return True
            time.sleep(0.2)
    return False


def show(summary: Summary, seconds: float, console: Console) -> None:
    """Print what was sent, and what was not and why."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(f"{summary.lines:,}", "lines read")
    table.add_row(f"[bold]{summary.sent:,}[/]", f"page views sent, {summary.sent / max(seconds, 0.001):,.0f} a second")
    for reason, count in summary.skipped.most_common():
        table.add_row(f"{count:,}", f"skipped: {reason}")
    console.print(table)
    for line in summary.bad_lines:
        console.print(f"  {line}", markup=False, style="dim")
    if summary.sent:
        days = [time.strftime("%Y-%m-%d", time.gmtime(moment / 1000)) for moment in (summary.first, summary.last)]
        console.print(f"The events are from {days[0]} to {days[1]} (UTC): ask the API for from={days[0]}&to={days[1]}.")


def known_site(sites: Sites, name: str | None) -> Site:
    """The site of that name, or the default one.

    Raises:
        SettingsError: there is none.
    """
    site = sites.find(name)
    if site is None:
        raise SettingsError(f"no site {name or '(default)'}: add it with `liveinsight site add`")
    return site


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--site", metavar="NAME", help="site of the events (default: the default site)")
@click.option(
    "--base-url",
    default="",
    show_default=False,
    metavar="URL",
    help="address of the site, which tells its own pages from other referrers",
)
@click.option("--include-static", is_flag=True, help="count static files as pages, too")
@click.option("--include-bots", is_flag=True, help="count bots as visitors, too")
@click.option("--wait", is_flag=True, help="return when the worker has counted everything")
@click.option("--quiet", is_flag=True, help="no progress bar")
def command(
    files: tuple[str, ...],
    site: str | None,
    base_url: str,
    *,
    include_static: bool,
    include_bots: bool,
    wait: bool,
    quiet: bool,
) -> int:
    """Import page views from access logs in the combined format; each FILE is plain or gzip, - is standard input.

    Page requests become page views with their original times and take the path of live events. A page request is a GET
    with a status of 2xx or 304 that is not for a static file. Bad lines are counted and shown; they stop nothing.
    Importing a log twice counts it twice.

    Exit code 1: the stream or the worker did not keep up. 130: Ctrl-C; what was sent stays.

    \b
    Example:
      liveinsight import-log --base-url https://blog.example.com --wait access.log access.log.1.gz
    """
    settings = Settings.from_env(os.environ)
    console = Console(stderr=True, highlight=False)
    for path in files:
        if path != "-" and not Path(path).is_file():
            raise SettingsError(f"{path}: no such file")
    sites = load_sites(open_store(settings))
    target = Target(known_site(sites, site).name, base_url.rstrip("/"))
    pipeline = _open_pipeline(settings, sites, include_bots=include_bots)
    importer = Importer(pipeline, PageRules(include_static=include_static), target, system_clock)
    began = time.monotonic()
    code = 0
    try:
        _send_all(importer, files, console, quiet=quiet)
    except KeyboardInterrupt:
        console.print("interrupted; what was sent stays")
        code = 130
    except StreamUnavailable as error:
        console.print(f"[red]the stream refused for {OUTAGE_SECONDS:g} s:[/] {error}")
        code = 1
    show(importer.summary, time.monotonic() - began, console)
    if wait and not code:
        Viewing(open_store(settings), system_clock).note(target.site)
        if not wait_until_counted(open_newest_store(settings), target.site, system_clock(), system_clock, console):
            console.print(f"[red]not counted within {WAIT_SECONDS:g} s[/]: is `liveinsight worker` running?")
            code = 1
    return code


def _open_pipeline(settings: Settings, sites: Sites, *, include_bots: bool) -> Pipeline:
    salt = os.urandom(32)
    return Pipeline(
        lambda: sites,
        GroupCommit(open_stream(settings), Retries(deadline=OUTAGE_SECONDS, longest_wait=5.0)),
        lambda occurred_at, received_at: salt,
        policy=Policy(
            max_age_ms=None,
            drop_bots=False if include_bots else None,
            guard=ValueGuard(),
            geo=open_geo_database(settings.geo_db),
            data_centres=load_data_centres(settings.data_centres),
        ),
    )


def _send_all(importer: Importer, files: Sequence[str], console: Console, *, quiet: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet) as progress:
        for path in files:
            name = log_identity(path)
            with _opened(path, progress) as file:
                for batch in _batches(file):
                    importer.send(name, batch)
