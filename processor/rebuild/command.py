"""`liveinsight rebuild`: count the stream again beside the numbers that are shown, compare, switch, and switch back.

    start   a new generation: tables of its own, filled from the stream's oldest record on
    diff    what it counts otherwise         switch   show it, and let the worker go on with it
    rollback  undo the switch                drop     delete a generation that is not in use

Until the switch nothing that is in use is written to: whatever becomes of a rebuild, the product goes on as it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date

from rich.console import Console

from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.settings import Settings
from processor.rebuild.actions import Rebuild

PROCEDURE = """\
The procedure, in order:

  1. Deploy the release that counts otherwise, but leave the worker running as it is.
  2. liveinsight rebuild start     Replays the stream into new tables and follows it. Ctrl-C drains; the same command
                                   goes on where it ended, within a day. Leave it running.
  3. liveinsight rebuild diff      What will change. Only buckets and days that are over, and whole in the stream.
  4. Restart the worker, so that the new release counts on after the switch.
  5. liveinsight rebuild switch    From a day on the API answers from the new generation, and the worker goes on with
                                   it, both within seconds. `rebuild start` ends by itself then.
  6. liveinsight rebuild rollback  If it was a mistake: as before the switch, and the worker counts what came since.
     liveinsight rebuild drop N    When you are sure, or to give up: deletes the tables of a generation not in use.

Until step 5 nothing that is in use is touched. `liveinsight rebuild status` tells where you are.
What arrives after the switch for earlier days is counted in the new generation, and shown only on days about which
the old one knows nothing. After a switch `dlq` shows the dead letters of the new generation."""


def build_parser() -> argparse.ArgumentParser:
    """The command line of `liveinsight rebuild`."""
    parser = argparse.ArgumentParser(
        prog="liveinsight rebuild",
        description="Count what the stream still holds again, into a new generation of counters beside the "
        "old one;\nsee the difference, switch to it at once, and switch back.",
        epilog=PROCEDURE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    starter = actions.add_parser(
        "start",
        help="replay the stream into a new generation, or go on with it",
        description="Create the next generation's tables and count the stream into them from its oldest record on, "
        "then follow it until Ctrl-C or the switch. Run it again to go on.",
        epilog="Exit code 0, or 130 when it was stopped before it had caught up and --until-caught-up was given.",
    )
    starter.add_argument("--until-caught-up", action="store_true", help="end when all that was there is counted")
    starter.add_argument(
        "--reads-per-second",
        type=_reads,
        default=2.0,
        metavar="N",
        help="reads per second and shard, of the five that Kinesis allows to all (default %(default)g)",
    )
    differ = actions.add_parser(
        "diff",
        help="what the new generation counts otherwise",
        description="Compare totals by 15 minutes and dimension values by day, the largest difference first. After a "
        "switch: with what was shown before it.",
        epilog="Exit code 0: no difference. 1: differences. 2: nothing could be compared.",
    )
    differ.add_argument("--json", action="store_true", help="as JSON on standard output")
    switcher = actions.add_parser(
        "switch",
        help="show the new generation, and let the worker go on with it",
        description="From a day on, by each site's own midnight, answers come from the new generation; earlier days "
        "stay as they are. By default that is the first day that began after the replay's first record, everywhere.",
    )
    switcher.add_argument(
        "--from-day", type=date.fromisoformat, metavar="YYYYMMDD", help="from this local day on (for imported logs)"
    )
    switcher.add_argument("--force", action="store_true", help="even if it lags, or no day is whole in it")
    backer = actions.add_parser("rollback", help="undo the last switch")
    backer.add_argument("--force", action="store_true", help="even if the stream has dropped what came since")
    actions.add_parser("status", help="which generations there are, and how far they have counted")
    dropper = actions.add_parser("drop", help="delete a generation that is not in use")
    dropper.add_argument("generation", type=int, metavar="GENERATION")
    dropper.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def main(arguments: list[str]) -> int:
    """Entry point: exit code 0 when it is done, else as the help says."""
    options = build_parser().parse_args(arguments)
    settings = Settings.from_env(os.environ)
    # The worker inside tells of its shards; here only what goes wrong is news.
    log_to_stderr("WARNING")
    rebuild = Rebuild(settings, system_clock, Console(stderr=True, highlight=False, markup=False))
    if options.action == "start":
        return rebuild.start(until_caught_up=options.until_caught_up, reads_per_second=options.reads_per_second)
    if options.action == "switch":
        return rebuild.switch(options.from_day, force=options.force)
    if options.action == "rollback":
        return rebuild.rollback(force=options.force)
    if options.action == "drop":
        return rebuild.drop(options.generation, confirmed=options.yes)
    if options.action == "status":
        return rebuild.status()
    try:
        return rebuild.diff(as_json=options.json)
    except LiveInsightError as error:
        # Exit code 1 is for differences.
        sys.stderr.write(f"liveinsight rebuild: {error}\n")
        return 2


def _reads(text: str) -> float:
    number = float(text)
    if not 0.1 <= number <= 5:
        raise argparse.ArgumentTypeError("use a number from 0.1 to 5")
    return number


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
