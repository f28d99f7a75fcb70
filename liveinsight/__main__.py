"""The `liveinsight` command: one table of subcommands, each a module with a `main(arguments)`.

Modules are found by name when they are asked for, so the core imports no service.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

from liveinsight import __version__
from liveinsight.model.errors import LiveInsightError


@dataclass(frozen=True)
class Command:
    """A subcommand: its name, the module that runs it, and one line of help."""

    name: str
    module: str
    summary: str


COMMANDS: tuple[Command, ...] = (
    Command("up", "liveinsight.devstack.up", "run the whole pipeline on this machine, with a demo site to look at"),
    Command("init", "liveinsight.cli.init", "create the stream and the tables (again is fine)"),
    Command("site", "liveinsight.cli.site", "the sites: origins, time zone, limits, privacy, API keys"),
    Command("ingest", "ingest.__main__", "take events from browsers and put them on the stream"),
    Command("worker", "processor.__main__", "count what is on the stream"),
    Command("api", "api.__main__", "serve the read API and the dashboard"),
    Command("import-log", "ingest.importer.import_log", "send a web server's access log through the pipeline"),
    Command("status", "processor.status.command", "show how far each shard is counted; the exit code is for monitors"),
    Command("dlq", "liveinsight.cli.dlq", "list, show, replay or delete the records that could not be decoded"),
    Command("verify", "processor.verify.command", "count the stream again and compare it with the stored counters"),
    Command(
        "rebuild", "processor.rebuild.command", "count the stream again beside the old numbers, compare, switch, undo"
    ),
    Command("local", "liveinsight.devstack.local", "run only a local stand-in for AWS"),
)


def usage() -> str:
    """What `liveinsight --help` prints."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:{width}}  {command.summary}" for command in COMMANDS]
    return "\n".join(
        [
            f"LiveInsight {__version__}: real-time, first-party web analytics on AWS",
            "",
            "usage: liveinsight COMMAND [options]",
            "",
            *lines,
            "",
            "`liveinsight COMMAND --help` explains a command. Settings come from the environment",
            "(LIVEINSIGHT_* and AWS_*, see docs/settings.md). Try it: `liveinsight up`, then open the URL it prints.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage() + "\n")
        return 0 if arguments else 2
    if arguments[0] in {"-V", "--version"}:
        sys.stdout.write(f"liveinsight {__version__}\n")
        return 0
    for command in COMMANDS:
        if command.name == arguments[0]:
            try:
                return int(importlib.import_module(command.module).main(arguments[1:]))
            except LiveInsightError as error:
                sys.stderr.write(f"liveinsight {command.name}: {error}\n")
                return 1
    sys.stderr.write(f"liveinsight: no command {arguments[0]!r}\n\n{usage()}\n")
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
