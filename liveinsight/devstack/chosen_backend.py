"""Which backend a run of `liveinsight up` uses: by its options, then by the environment, otherwise SQLite.

In: options and environment. Out: the environment of the services, which names the backend, and one line that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import click

from liveinsight.devstack.ministack import MiniStack
from liveinsight.settings import BACKEND_VARIABLES, BackendKind, Settings


class Options(NamedTuple):
    """The options of `up` that choose the backend."""

    stand_in: bool
    aws: bool
    endpoint: str | None
    fresh: bool

    def check(self, settings: Settings) -> None:
        """Refuse what contradicts itself, or the settings.

        Raises:
            click.UsageError: says what.
        """
        if sum((self.stand_in, self.aws, bool(self.endpoint))) > 1:
            raise click.UsageError("give one of --stand-in, --endpoint and --aws")
        elsewhere = self.aws or self.endpoint or (settings.on_aws and not self.stand_in)
        if self.fresh and elsewhere:
            raise click.UsageError("--fresh is for what is kept in the data folder: SQLite, or --stand-in")


def choose(
    options: Options, environ: Mapping[str, str], folder: Path, stack: ExitStack, say: Callable[[str], None]
) -> dict[str, str]:
    """The environment of the services. Starts the stand-in for AWS if that is asked for; `stack` stops it.

    Args:
        options: checked.
        environ: of the program.
        folder: where the data is kept.
        stack: undoes it.
        say: takes a line of text for people.

    Raises:
        LiveInsightError: the stand-in is not installed, or does not start.
    """
    own = options.stand_in or bool(options.endpoint)
    chosen = {name: value for name, value in environ.items() if not (own and name in BACKEND_VARIABLES)}
    chosen["LIVEINSIGHT_DATA_DIR"] = str(folder)
    if options.stand_in:
        ministack = MiniStack(folder / "stand-in")
        if not options.fresh:
            stack.callback(say, f"saved to {folder / 'stand-in'}")
        stack.callback(ministack.stop)
        chosen["AWS_ENDPOINT_URL"] = ministack.url
    elif options.endpoint:
        chosen["AWS_ENDPOINT_URL"] = options.endpoint
    on_aws = own or options.aws or Settings.from_env(chosen).on_aws
    chosen["LIVEINSIGHT_BACKEND"] = (BackendKind.AWS if on_aws else BackendKind.SQLITE).value
    return chosen


def in_the_cloud(settings: Settings) -> bool:
    """Whether the backend is AWS itself, where every call has its price."""
    elsewhere = settings.endpoint_url or settings.endpoint_url_kinesis or settings.endpoint_url_dynamodb
    return settings.on_aws and not elsewhere and not settings.local


def description(options: Options, settings: Settings, place: str) -> str:
    """Which backend it is, and how to have another."""
    if not settings.on_aws:
        return f"SQLite in {place}; --stand-in or --aws: Kinesis and DynamoDB"
    if options.stand_in:
        return f"stand-in for Kinesis and DynamoDB at {place}; without --stand-in: SQLite"
    return f"Kinesis and DynamoDB, {place}; with LIVEINSIGHT_BACKEND=sqlite: SQLite"
