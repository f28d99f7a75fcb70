"""`liveinsight restore`: the data folder from a backup."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from liveinsight.cli.backup import file_argument, folder_of, progress_bar
from liveinsight.model.clock import system_clock
from liveinsight.runtime.command_line import confirm, yes_option
from liveinsight.runtime.report_text import time_text
from liveinsight.settings import Settings
from liveinsight.sqlite.backup import about
from liveinsight.sqlite.restore import files_of, put_in_place, unpack, unused


@click.command()
@file_argument
@yes_option
def command(file: Path, *, yes: bool) -> None:
    """Put the data folder back as it was when FILE was made by `liveinsight backup`. For the files of one machine.

    Stop LiveInsight before. What is in the folder now is kept, in a folder of its own beside it. A backup of an older
    release is brought up to date; one of a newer release is refused. Then start LiveInsight: the worker counts what the
    backup's stream holds beyond its counters.

    If it is interrupted, call it again.

    \b
    Examples:
      liveinsight restore /backup/liveinsight.db
      LIVEINSIGHT_DATA_DIR=/new/disk liveinsight restore --yes /backup/liveinsight.db
    """
    folder = folder_of(Settings.from_env(os.environ))
    known = about(file)
    aside = folder / f"before-restore-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    with unused(folder, system_clock()):
        click.echo(f"{file} was made at {time_text(known.made_at)} by LiveInsight {known.release}")
        if replaced := bool(files_of(folder)):
            confirm(f"Replace the data in {folder}? It is kept in {aside.name}.", yes=yes)
        with progress_bar("restore") as progress:
            unpack(file, folder, progress)
        put_in_place(folder, aside)
    click.echo(f"{folder} is restored" + (f"; what was there is in {aside}" if replaced else ""))
