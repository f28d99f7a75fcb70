"""`liveinsight rebuild`: count the stream again into a new generation of counters, compare, switch, and roll back.

    start      create a generation with tables of its own, and fill it from the oldest record of the stream
    diff       compare it with the current one      switch   show it, and let the worker continue with it
    rollback   undo the switch                      drop     delete a generation that is not in use

Nothing that is in use is written to before the switch, so a failed rebuild has no effect on the product.
"""

from __future__ import annotations

import os
from datetime import date

import click
from rich.console import Console

from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.command_line import DAY, Number, json_option, yes_option
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.settings import Settings
from processor.rebuild.actions import Rebuild


@click.group()
def command() -> None:
    """Count the records of the stream again into a new generation of counters, compare it with the current one, switch
    to it, and roll back.

    \b
    The procedure, in order:
      1. Deploy the release that counts differently, but let the old worker run.
      2. liveinsight rebuild start      Replays the stream into new tables and follows it.
                                        Ctrl-C drains; the same command continues within a day.
                                        Let it run.
      3. liveinsight rebuild diff       What will change. Compares only closed buckets and days
                                        that the stream holds completely.
      4. Restart the worker, so that the new release counts after the switch.
      5. liveinsight rebuild switch     From a day on the API answers from the new generation, and
                                        the worker writes to it, within seconds. `start` ends then.
      6. liveinsight rebuild rollback   If it was a mistake: as before the switch; the worker
                                        counts what has arrived since.
         liveinsight rebuild drop N     At the end, or to give up: deletes the tables of a
                                        generation that is not in use.

    Nothing that is in use changes before step 5. `liveinsight rebuild status` shows the current state. Events that
    arrive after the switch for earlier days are counted in the new generation, and shown only on days about which the
    old one has no data. After a switch `dlq` shows the dead letters of the new generation.
    """


def _rebuild() -> Rebuild:
    settings = Settings.from_env(os.environ)
    # The worker inside logs each shard; here only problems are of interest.
    log_to_stderr("WARNING")
    return Rebuild(settings, system_clock, Console(stderr=True, highlight=False, markup=False))


@command.command()
@click.option("--until-caught-up", is_flag=True, help="end when everything that is on the stream now is counted")
@click.option(
    "--reads-per-second", type=Number(0.1, 5), default=2.0, metavar="N", help="reads of each shard; Kinesis allows five"
)
def start(*, until_caught_up: bool, reads_per_second: float) -> int:
    """Replay the stream into a new generation, or continue with it.

    It follows the stream until Ctrl-C or the switch. Exit code 130: it was stopped before it had caught up, and
    --until-caught-up was given.
    """
    return _rebuild().start(until_caught_up=until_caught_up, reads_per_second=reads_per_second)


@command.command()
@json_option
def diff(*, as_json: bool) -> int:
    """Compare the new generation with the one that is shown.

    It compares totals per 15 minutes and dimension values per day, and prints the largest difference first. After a
    switch it compares with the generation that was shown before.

    Exit code 0: no difference. 1: differences. 2: nothing could be compared.
    """
    try:
        return _rebuild().diff(as_json=as_json)
    except LiveInsightError as error:
        # Exit code 1 is for differences.
        click.echo(f"liveinsight rebuild: {error}", err=True)
        return 2


@command.command()
@click.option("--from-day", type=DAY, metavar="YYYY-MM-DD", help="from this local day on (for imported logs)")
@click.option("--force", is_flag=True, help="even if it lags, or holds no complete day")
def switch(from_day: date | None, *, force: bool) -> int:
    """Show the new generation, and let the worker continue with it.

    Answers come from the new generation from a day on, by the midnight of each site; earlier days stay as they are. The
    default is the first day that began in all sites after the first record of the replay.
    """
    return _rebuild().switch(from_day, force=force)


@command.command()
@click.option("--force", is_flag=True, help="even if the stream has dropped records that have arrived since")
def rollback(*, force: bool) -> int:
    """Undo the last switch."""
    return _rebuild().rollback(force=force)


@command.command()
def status() -> int:
    """Show all generations, and how far they have counted."""
    return _rebuild().status()


@command.command()
@click.argument("generation", type=int)
@yes_option
def drop(generation: int, *, yes: bool) -> int:
    """Delete the tables of a generation that is not in use."""
    return _rebuild().drop(generation, confirmed=yes)
