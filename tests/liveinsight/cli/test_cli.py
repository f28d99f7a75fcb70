"""The command line: every command explains itself, mistakes are told apart, and docs/running.md lists all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from liveinsight import __version__
from liveinsight.__main__ import COMMANDS, cli, main

PAGE = Path(__file__).parents[3] / "docs" / "running.md"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`liveinsight --help` lists all commands and succeeds; without a command it fails."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert main([]) == 2
    assert "Usage: liveinsight" in capsys.readouterr().err
    for name, entry in COMMANDS.items():
        assert f"  {name} " in shown
        assert entry.summary.split(";")[0] in " ".join(shown.split())


def test_help_imports_no_command() -> None:
    """The list of commands needs none of their modules, so it is fast and works without the services."""
    script = "import sys; from liveinsight.__main__ import main; main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1]
    assert "'liveinsight.__main__'" in modules
    assert not any(f"'{name}" in modules for name in ("boto3", "rich", "ingest", "processor", "api.", "flask"))


def all_commands(name: str, command: click.Command) -> Iterator[str]:
    """A command and its subcommands, as they are called."""
    yield name
    for sub, below in getattr(command, "commands", {}).items():
        yield from all_commands(f"{name} {sub}", below)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has help that says how to call it, with an example, and is in docs/running.md."""
    command = cli.get_command(click.Context(cli), name)
    assert command
    for called in all_commands(name, command):
        assert main([*called.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        assert f"Usage: liveinsight {called}" in shown
        if called == name:
            assert re.search(rf" liveinsight {name}\b", shown.partition("\n")[2]), "no example"
    assert f"liveinsight {name}" in PAGE.read_text(encoding="utf-8")


def test_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing mistake is told, and what to do about it."""
    assert main(["wrker"]) == 2
    shown = capsys.readouterr().err
    assert "No such command 'wrker'" in shown
    assert "Try 'liveinsight " in shown


def test_number_outside_its_bounds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that compares with nothing."""
    for number, problem in (
        ("0.01", "not in the range"),
        ("nan", "nan is not a number"),
        ("soon", "not a valid float"),
    ):
        assert main(["status", "--limit", number]) == 2
        assert problem in capsys.readouterr().err


def complete(words: str) -> list[str]:
    """What bash is given for a line that is being typed."""
    environ = {**os.environ, "_LIVEINSIGHT_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split()) - (not words.endswith(" ")))
    done = subprocess.run(
        [sys.executable, "-m", "liveinsight"], env=environ, capture_output=True, text=True, check=False
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_shell_completion() -> None:
    """Commands, subcommands and options are completed."""
    assert complete("liveinsight i") == ["init", "ingest", "import-log"]
    assert complete("liveinsight rebuild r") == ["rollback"]
    assert complete("liveinsight site add --ex") == ["--excluded-paths", "--excluded-addresses"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version can be asked for."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"liveinsight {__version__}\n"


def test_error_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of ours is told in a line, not in a traceback."""
    monkeypatch.setenv("LIVEINSIGHT_SHARDS", "none")
    assert main(["init"]) == 1
    assert capsys.readouterr().err.startswith("liveinsight init: LIVEINSIGHT_SHARDS='none': ")


def test_unreachable_aws_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing listens at the endpoint, the endpoint is named."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["init"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
