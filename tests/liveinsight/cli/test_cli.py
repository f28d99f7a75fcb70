"""The command line: every command explains itself, mistakes are told apart, and docs/running.md lists all of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from liveinsight import __version__
from liveinsight.__main__ import COMMANDS, Command, main, usage

PAGE = Path(__file__).parents[3] / "docs" / "running.md"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`liveinsight --help` lists all commands and succeeds; without a command it fails."""
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == usage() + "\n"
    assert main([]) == 2
    assert all(command.name in usage() for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_explains_itself(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has help of its own that starts with how to call it, and is in docs/running.md."""
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(command.module).main(["--help"])
    assert caught.value.code == 0
    assert f"usage: liveinsight {command.name}" in capsys.readouterr().out
    assert f"liveinsight {command.name}" in PAGE.read_text(encoding="utf-8")


def test_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing mistake gives the list of commands."""
    assert main(["wrker"]) == 2
    assert "no command 'wrker'" in capsys.readouterr().err


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
