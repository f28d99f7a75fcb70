"""The `liveinsight` command: one table of commands, each a module with a click `command`.

In: the command line. Out: the exit code. A command's module is imported when it is called, so the core imports no
service and `--help` is fast.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from liveinsight import __version__
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.folder_lock import DATA_LOCK, holder_of
from liveinsight.settings import BACKEND_VARIABLES, DATA_DIR


class Entry(NamedTuple):
    """A command: the module that has it, and one line of help."""

    module: str
    summary: str


COMMANDS = {
    "up": Entry("liveinsight.devstack.up", "run the whole pipeline on this machine, with a demo site"),
    "init": Entry("liveinsight.cli.init", "create the stream and the tables (safe to repeat)"),
    "site": Entry("liveinsight.cli.site", "manage sites: origins, time zone, limits, privacy, API keys"),
    "ingest": Entry("ingest.command", "accept events from browsers and put them on the stream"),
    "worker": Entry("processor.command", "count the events on the stream"),
    "api": Entry("api.command", "serve the read API and the dashboard"),
    "import-log": Entry("ingest.importer.import_log", "import page views from the access logs of a web server"),
    "status": Entry("processor.status.command", "show how far each shard is counted; the exit code is for monitoring"),
    "dlq": Entry("liveinsight.cli.dlq", "list, show, replay or purge dead letters: records that cannot be decoded"),
    "verify": Entry("processor.verify.command", "count the stream again and compare the result with the counters"),
    "rebuild": Entry("processor.rebuild.command", "count the stream again into new tables, compare, switch, roll back"),
    "check": Entry("liveinsight.cli.check", "look for damage in the files on this machine"),
    "backup": Entry("liveinsight.cli.backup", "write everything on this machine to one file, while it runs"),
    "restore": Entry("liveinsight.cli.restore", "put everything on this machine back from a backup"),
    "copy": Entry("liveinsight.cli.copy", "copy all counts from one machine to AWS, or back, and compare them"),
    "local": Entry("liveinsight.devstack.local", "run only the local AWS stack"),
}


STARTS_A_BACKEND = ("up", "local")


def use_running_backend(environ: MutableMapping[str, str]) -> None:
    """Use the backend of the `up` that runs on the data folder, unless the environment names one."""
    if not any(environ.get(name) for name in BACKEND_VARIABLES):
        holder = holder_of(Path(environ.get("LIVEINSIGHT_DATA_DIR") or DATA_DIR) / DATA_LOCK)
        environ.update(holder.environ if holder else {})


class LazyGroup(click.Group):
    """The commands of `COMMANDS`, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in STARTS_A_BACKEND:
            use_running_backend(os.environ)
        command: click.Command = importlib.import_module(COMMANDS[cmd_name].module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(n, help=entry.summary) for n, entry in COMMANDS.items() if n.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LiveInsightError as error:
            click.echo(f"liveinsight {ctx.invoked_subcommand}: {error}", err=True)
            return 1


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, "-V", "--version", message="liveinsight %(version)s")
def cli() -> None:
    """LiveInsight: real-time, first-party web analytics, on one machine or on AWS.

    Settings come from the environment (LIVEINSIGHT_* and AWS_*, see docs/settings.md).

    \b
    Examples:
      liveinsight up                            everything on this machine; open the URL it prints
      liveinsight site add shop --time-zone Europe/Berlin
      liveinsight COMMAND --help                explains a command, with examples
    """


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 2 for a mistake in calling or an answer of no, 130 after Ctrl-C."""
    try:
        return cli.main(arguments, prog_name="liveinsight", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        return 130 if error.__cause__ else 2


if __name__ == "__main__":
    raise SystemExit(main())
