"""`liveinsight local`: only the stand-in for AWS, for whoever starts ingest, worker and API by hand.

Start:  stand-in(s) -> init -> the environment for other programs, on stdout
Stop:   Ctrl-C or SIGTERM saves
"""

from __future__ import annotations

import argparse
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


def build_parser() -> argparse.ArgumentParser:
    """The command line of `liveinsight local`."""
    parser = argparse.ArgumentParser(
        prog="liveinsight local",
        description="Start only a local stand-in for AWS, create the stream and the tables in it, and print the "
        "environment with which ingest, worker, api and other programs find it. Listens on loopback only. "
        "Ctrl-C saves; the next start goes on from there.",
        epilog="Without --faithful it is MiniStack, which is fast and needs nothing but Python, but loses what is "
        "unread in a shard that is split or merged. What is saved goes to <LIVEINSIGHT_DATA_DIR>/local or "
        "<LIVEINSIGHT_DATA_DIR>/faithful. More in docs/local-aws.md.",
    )
    parser.add_argument(
        "--faithful",
        action="store_true",
        help="use kinesis-mock and DynamoDB Local: slower, but shards can be split and merged; needs a checkout of "
        "the repository, Java 17 and Maven, and downloads 60 MB the first time",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=PREFERRED_PORT,
        metavar="N",
        help="where to listen (default %(default)s); with --faithful Kinesis is there, DynamoDB at the next port, "
        "and Kinesis with TLS at the one after",
    )
    parser.add_argument("--fresh", action="store_true", help="start empty, and save nothing")
    return parser


def port_number(text: str) -> int:
    """A port for the command line; two more follow it."""
    number = int(text)
    if not 1024 <= number <= 65_533:
        raise argparse.ArgumentTypeError("use a port from 1024 to 65533")
    return number


def main(arguments: list[str]) -> int:
    """Entry point: exit code 0 after Ctrl-C or SIGTERM, 1 when a stand-in has ended by itself."""
    options = build_parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    environ = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    settings = Settings.from_env(environ)
    _refuse_taken_ports(range(options.port, options.port + (3 if options.faithful else 1)))
    with ExitStack() as stack:
        if options.fresh:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liveinsight-")))
        else:
            folder = Path(settings.data_dir) / ("faithful" if options.faithful else "local")
        start = _start_faithful if options.faithful else _start_ministack
        servers, exports = start(folder, options.port, stack)
        for line in initialise(Settings.from_env({**environ, **exports})):
            _say(line)
        sys.stdout.write(_export_lines({**exports, "AWS_REGION": settings.region}))
        sys.stdout.flush()
        _say("Ctrl-C stops it." if options.fresh else "Ctrl-C saves and stops it.")
        while not stop.wait(0.5):
            if not all(server.alive for server in servers):
                raise LiveInsightError(f"the stand-in has ended by itself: see the logs in {folder}")
    if not options.fresh:
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
