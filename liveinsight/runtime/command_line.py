"""What commands of `liveinsight` share: options, types of values, the question before something is deleted.

In: text from an operator. Out: values, or an error that says what to write instead. Each command declares its own
options; `liveinsight.__main__` lists the commands.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="print JSON to standard output")
yes_option = click.option("--yes", is_flag=True, help="do not ask for confirmation")


class NotConfirmed(click.ClickException):
    """A confirmation is needed, and there is no terminal."""

    exit_code = 2


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal, unless `yes` was said already.

    Raises:
        NotConfirmed: there is no terminal to ask on.
        click.Abort: the answer is no.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise NotConfirmed("stdin is not a terminal: confirm with --yes")
        click.confirm(question, abort=True)


# Not `ParamType[Any]`: click 8.2 and 8.3 do not allow it.
class Parsed(click.ParamType):  # type: ignore[type-arg]
    """A value that a function reads from text. Its `ValueError` says what is wrong."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.name = "text"
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


DAY = Parsed(date.fromisoformat)
"""A day as YYYY-MM-DD."""


class Number(click.FloatRange):
    """A number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        # NaN compares as neither too small nor too large.
        return self.fail("nan is not a number", param, ctx) if math.isnan(number) else number


class ListCommand(click.Command):
    """A command whose repeatable options take several values at once, or none: `--origins A B`, `--origins`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = {name for param in self.params if param.multiple for name in param.opts}
        return super().parse_args(ctx, list(_one_value_each(args, names)))


def _one_value_each(args: list[str], names: set[str]) -> Iterator[str]:
    """`--origins A B` as `--origins=A --origins=B`, and `--origins` alone as `--origins=`."""
    rest = list(args)
    while rest:
        option = rest.pop(0)
        if option not in names:
            yield option
            continue
        values = []
        while rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        yield from (f"{option}={value}" for value in values or [""])
