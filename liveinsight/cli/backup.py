"""`liveinsight backup`: one file with everything, while everything runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.sqlite.backup import Progress, about, back_up

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@file_argument
@click.option("--force", is_flag=True, help="replace FILE if it is a backup")
def command(file: Path, *, force: bool) -> None:
    """Write a backup of the data folder to FILE, while everything runs. For the files of one machine (SQLite).

    FILE holds everything as of one moment: sites, counters, visitors, timelines, dead letters, and the records of the
    stream, so that the worker counts after a restore what was not counted yet. It is checked before it gets its name,
    and it is a SQLite file: the sqlite3 shell can look into it. Nothing waits meanwhile.

    \b
    Examples:
      liveinsight backup /backup/liveinsight.db
      liveinsight backup --force /backup/liveinsight-$(date +%a).db      the last seven days, from cron
    """
    folder = folder_of(Settings.from_env(os.environ))
    if file.exists():
        if not force:
            raise LiveInsightError(f"{file} is there already: take another name, or --force")
        # Whatever else it is, it is not ours to replace.
        about(file)
    began = time.monotonic()
    with progress_bar("backup") as progress:
        size = back_up(folder, file, system_clock(), progress)
    click.echo(f"{file}: {decimal(size)} in {time.monotonic() - began:.1f} s, checked")


def folder_of(settings: Settings) -> Path:
    """The data folder.

    Raises:
        LiveInsightError: the data is on AWS.
    """
    if settings.on_aws:
        raise LiveInsightError(
            "this command is for the files of one machine (LIVEINSIGHT_BACKEND=sqlite); on AWS, DynamoDB keeps its "
            "tables whole and has point-in-time recovery"
        )
    return Path(settings.data_dir).resolve()


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar on standard error if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, expected: bar.update(task, completed=done, total=max(done, expected))
