"""`liveinsight local`: only the stand-in for AWS, for whoever starts ingest, worker and API by hand.

Start:  stand-in(s) -> init -> the environment for other programs, on stdout
Stop:   Ctrl-C or SIGTERM saves
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import click

from liveinsight.bootstrap import initialise
from liveinsight.devstack import resharding_stack
from liveinsight.devstack.ministack import PREFERRED_PORT, StandIn
from liveinsight.devstack.resharding_stack import DynamoDBLocal, KinesisMock
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings

ELSEWHERE = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB", "LIVEINSIGHT_LOCAL")
"""Variables that say where AWS is: what they say does not matter to the one that is being started here."""


class Running(Protocol):
    """A stand-in that has come up."""

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
    environ = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    settings = Settings.from_env(environ)
    _refuse_taken_ports(range(port, port + (3 if faithful else 1)))
    with ExitStack() as stack:
        if fresh:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liveinsight-")))
        else:
            folder = Path(settings.data_dir) / ("faithful" if faithful else "local")
        start = _start_faithful if faithful else _start_ministack
        servers, exports = start(folder, port, stack)
        for line in initialise(Settings.from_env({**environ, **exports})):
            _say(line)
        sys.stdout.write(_export_lines({**exports, "AWS_REGION": settings.region}))
        sys.stdout.flush()
        _say("Ctrl-C stops it." if fresh else "Ctrl-C saves and stops it.")
        while not stop.wait(0.5):
            if not all(server.alive for server in servers):
                raise LiveInsightError(f"the stand-in has ended by itself: see the logs in {folder}")
    if not fresh:
        _say(f"saved to {folder}")
    return 0


def _start_ministack(folder: Path, port: int, stack: ExitStack) -> tuple[list[Running], dict[str, str]]:
    stand_in = StandIn(folder, port=port)
    stack.callback(stand_in.stop)
    return [stand_in], {"AWS_ENDPOINT_URL": stand_in.url}


def _start_faithful(folder: Path, port: int, stack: ExitStack) -> tuple[list[Running], dict[str, str]]:
    _say("looking for kinesis-mock and DynamoDB Local (the first time they are downloaded)")
    resharding_stack.install()
    kinesis = KinesisMock(folder, port=port, tls_port=port + 2, keep=True)
    stack.callback(kinesis.stop)
    dynamodb = DynamoDBLocal(folder, port=port + 1, keep=True)
    stack.callback(dynamodb.stop)
    return [kinesis, dynamodb], {
        "AWS_ENDPOINT_URL_KINESIS": kinesis.url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
    }


def _export_lines(environ: Mapping[str, str]) -> str:
    return "".join(f"export {name}={value}\n" for name, value in environ.items())


def _refuse_taken_ports(ports: range) -> None:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise LiveInsightError(f"port {port} is taken: choose another with --port") from None


def _say(line: str) -> None:
    """To stderr: stdout is for the environment."""
    sys.stderr.write(f"{line}\n")
