"""`liveinsight local`: only the local AWS stack, for developers who start ingest, worker and API by hand.

Start:  local AWS stack -> init -> the environment for other programs, on stdout; all else goes to stderr
Stop:   Ctrl-C or SIGTERM saves
"""

from __future__ import annotations

import importlib
import os
import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import click

from liveinsight.bootstrap import initialise
from liveinsight.devstack.loopback import is_free
from liveinsight.devstack.ministack import PREFERRED_PORT, MiniStack
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import BACKEND_VARIABLES, Settings


class Server(Protocol):
    """A server of the stack that has started."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    def stop(self) -> None:
        """Save and end."""


@click.command()
@click.option("--faithful", is_flag=True, help="kinesis-mock and DynamoDB Local, which can split and merge shards")
@click.option(
    "--port", type=click.IntRange(1024, 65_533), default=PREFERRED_PORT, metavar="N", help="first port to use"
)
@click.option("--fresh", is_flag=True, help="start empty, and save nothing")
def command(port: int, *, faithful: bool, fresh: bool) -> int:
    """Start only the local AWS stack, create the stream and the tables, and print the environment for other programs.

    It listens on loopback only. Ctrl-C saves to <LIVEINSIGHT_DATA_DIR>/local or <LIVEINSIGHT_DATA_DIR>/faithful, and
    the next start continues from there. Exit code 1: the stack has stopped. See docs/local-aws.md.

    The stack is MiniStack: fast, and only Python, but it loses unread records of a shard that is split or merged. The
    stack of --faithful is slower and keeps them. It needs a checkout of the repository, Java 17 and Maven, downloads 60
    MB the first time, and uses three ports: Kinesis, DynamoDB, Kinesis with TLS.

    \b
    Example:
      liveinsight local --port 4600 > env.sh &
      . ./env.sh && liveinsight worker
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # It starts the backend that these would name.
    environ = {name: value for name, value in os.environ.items() if name not in BACKEND_VARIABLES}
    settings = Settings.from_env(environ)
    for used in range(port, port + (3 if faithful else 1)):
        if not is_free(used):
            raise LiveInsightError(f"port {used} is taken: choose another with --port")
    with ExitStack() as stack:
        if fresh:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liveinsight-")))
        else:
            folder = Path(settings.data_dir) / ("faithful" if faithful else "local")
        start = _start_faithful if faithful else _start_ministack
        servers, exports = start(folder, port, stack)
        for line in initialise(Settings.from_env({**environ, **exports})):
            click.echo(line, err=True)
        for name, value in {**exports, "AWS_REGION": settings.region}.items():
            click.echo(f"export {name}={value}")
        click.echo("Ctrl-C stops it." if fresh else "Ctrl-C saves and stops it.", err=True)
        while not stop.wait(0.5):
            if not all(server.alive for server in servers):
                raise LiveInsightError(f"the local AWS stack has stopped: see the logs in {folder}")
    if not fresh:
        click.echo(f"saved to {folder}", err=True)
    return 0


def _start_ministack(folder: Path, port: int, stack: ExitStack) -> tuple[list[Server], dict[str, str]]:
    ministack = MiniStack(folder, port=port)
    stack.callback(ministack.stop)
    return [ministack], {"AWS_ENDPOINT_URL": ministack.url}


def _start_faithful(folder: Path, port: int, stack: ExitStack) -> tuple[list[Server], dict[str, str]]:
    try:
        # Test machinery, which only a checkout has.
        resharding = importlib.import_module("liveinsight.testing.resharding_stack")
    except ModuleNotFoundError as error:
        raise LiveInsightError("--faithful needs a checkout of the repository") from error
    click.echo("looking for kinesis-mock and DynamoDB Local (the first time they are downloaded)", err=True)
    resharding.install()
    kinesis = resharding.KinesisMock(folder, port=port, tls_port=port + 2, keep=True)
    stack.callback(kinesis.stop)
    dynamodb = resharding.DynamoDBLocal(folder, port=port + 1, keep=True)
    stack.callback(dynamodb.stop)
    exports = {"AWS_ENDPOINT_URL_KINESIS": kinesis.url, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url}
    return [kinesis, dynamodb], exports
