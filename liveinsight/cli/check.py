"""`liveinsight check`: are the files of one machine whole, and do they fit together?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import click

from liveinsight.cli.backup import folder_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.sqlite.inspection import contradictions, damage_in


@click.command()
def command() -> int:
    """Read the files of the data folder as a whole and look for damage. For the files of one machine (SQLite).

    It may run while everything else does. Exit code 1 when something is wrong: it says what, and what to do. To compare
    the counters with the records of the stream, see `liveinsight verify`.

    \b
    Example:
      liveinsight check || alert
    """
    settings = Settings.from_env(os.environ)
    folder_of(settings)
    backend = SqliteBackend(settings, system_clock)
    backend.check_version()
    stream, store = backend.stream_file, backend.store_file
    wrong = False
    for file in (store, stream):
        wrong |= _tell(f"{file.path}: whole", lambda: damage_in(file))  # noqa: B023
    if not wrong:
        wrong = _tell("they fit together", lambda: contradictions(stream, store))
    if wrong:
        click.echo("Stop LiveInsight and put the last good backup back: `liveinsight restore FILE`", err=True)
    return int(wrong)


def _tell(good: str, find: Callable[[], Iterator[str]]) -> bool:
    """Print what is found, or `good`; returns whether anything was found."""
    try:
        problems = list(find())
    except LiveInsightError as error:
        problems = [str(error)]
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo(good)
    return bool(problems)
