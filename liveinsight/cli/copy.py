"""`liveinsight copy`: from the files of one machine to AWS, and back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from msgspec.structs import replace
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from liveinsight.copying.comparison import Comparison
from liveinsight.copying.copier import Copier
from liveinsight.copying.tally import KINDS, Tally
from liveinsight.model.clock import system_clock
from liveinsight.runtime.folder_lock import held
from liveinsight.runtime.report_text import report_console, time_text
from liveinsight.settings import BackendKind, Settings
from liveinsight.wiring import open_backend

WAIT_SECONDS = 2.0
"""Time between two looks whether the source has counted everything."""


@click.command()
@click.option("--to", "kind", type=click.Choice(["aws", "sqlite"]), required=True, help="where to; from the other one")
@click.option("--dry-run", is_flag=True, help="only show what would be moved")
@click.option("--wait", is_flag=True, help="wait until the source has counted everything")
def command(kind: str, *, dry_run: bool, wait: bool) -> int:
    """Copy sites, counters, visitors, timelines, dead letters and salts to AWS, or back to the files of one machine.

    The target is created as `init` does, and must be empty. Everything is compared at the end, and counting goes on
    there: events on the target's stream are counted on top. Start again what was interrupted: it continues.

    First stop ingest and let the worker count the rest. Or, so that no event is refused, begin with --wait: sites and
    salts are copied at once; start ingest on the target, stop the old one, and the copy begins when all is counted.
    docs/growing.md has the steps. Exit code 1: not copied, or not equal.

    \b
    Examples:
      liveinsight copy --to aws --dry-run
      AWS_REGION=eu-central-1 liveinsight copy --to aws --wait
      LIVEINSIGHT_DATA_DIR=/var/lib/liveinsight liveinsight copy --to sqlite
    """
    settings = Settings.from_env(os.environ)
    target_kind, source_kind = BackendKind.AWS, BackendKind.SQLITE
    if kind == "sqlite":
        target_kind, source_kind = source_kind, target_kind
    source = open_backend(replace(settings, backend=source_kind))
    target = open_backend(replace(settings, backend=target_kind))
    copier = Copier(source, target, system_clock, sleep=time.sleep, say=click.echo)
    click.echo(f"from {source.place} to {target.place}")
    if dry_run:
        _show(copier.inventory())
        if shards := copier.uncounted():
            click.echo(f"not everything is counted yet: {', '.join(shards)}")
        return 0
    lock = Path(settings.data_dir).resolve() / "lock"
    with held(lock, "liveinsight copy", system_clock()) if kind == "sqlite" else nullcontext():
        return run(copier, wait=wait)


def run(copier: Copier, *, wait: bool) -> int:
    """Copy or continue, compare, finish; returns the exit code.

    Raises:
        LiveInsightError: the copy is refused, or did not come to its end.
    """
    if at := copier.finished_at():
        click.echo(f"copied and verified at {time_text(at)}: nothing to do")
        return 0
    copier.prepare()
    click.echo("sites and salts are copied: ingest may be started on the target")
    if wait:
        _wait(copier)
    tally = copier.inventory()
    _show(tally)
    with _bar("copy", tally) as progress:
        copier.copy(progress)
    with _bar("compare", tally) as progress:
        found = copier.compare(progress)
    _show_comparison(found)
    if not copier.finish(found):
        click.echo("not finished: start the copy again", err=True)
        return 1
    click.echo("all items are equal: workers on the target count from now on, as soon as they are started")
    return 0


def _wait(copier: Copier) -> None:
    told: list[str] = []
    while shards := copier.uncounted():
        if shards != told:
            click.echo(f"waiting for the worker to count {', '.join(shards)}: stop the old ingest, leave its worker on")
        told = shards
        time.sleep(WAIT_SECONDS)
        copier.copy_salts()


@contextmanager
def _bar(title: str, tally: Tally) -> Iterator[Callable[[int], object]]:
    """A bar on standard error if that is a terminal."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(title, total=tally.items.total())
        yield lambda done: bar.update(task, completed=done)


def _show(tally: Tally) -> None:
    table = Table("to be moved", "items", "bytes", box=None, padding=(0, 2, 0, 0))
    for name in (*KINDS.values(), "in all"):
        items, size = (counts.total() if name == "in all" else counts[name] for counts in (tally.items, tally.size))
        table.add_row(name, f"{items:,}", decimal(size))
    _print(table)


def _show_comparison(found: Comparison) -> None:
    table = Table("compared", "source", "target", "differing", box=None, padding=(0, 2, 0, 0))
    for name in KINDS.values():
        table.add_row(name, *(f"{counts[name]:,}" for counts in (found.source, found.target, found.differing)))
    _print(table)


def _print(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify = "right"
    report_console().print(table)
