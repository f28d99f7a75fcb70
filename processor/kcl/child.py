"""`python -m processor.kcl.child`: the process of one shard, started by the Java daemon.

Its stdout carries the protocol. So it is duplicated before anything else can write to it, and file descriptor 1 becomes
stderr: anything that is printed, also by a dependency or C code, goes to the log.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOBase
from pathlib import Path
from typing import IO, NoReturn, cast

from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import StreamUnavailable
from liveinsight.runtime.gc_tuning import tune_for_records
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.runtime.retry import retry_within
from liveinsight.settings import Settings
from liveinsight.sites.viewing import Viewing
from liveinsight.storage.generation_pointer import FIRST
from liveinsight.storage.stream import Stream
from liveinsight.wiring import open_generations, open_stream
from processor.kcl.adapter import Adapter
from processor.kcl.exit_codes import PROTOCOL_BROKEN, Note
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0


class PrintedLines(TextIOBase):
    """Replaces `sys.stdout`: each printed line becomes a log line."""

    def __init__(self) -> None:
        self._started = threading.local()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, rest = (getattr(self._started, "text", "") + text).split("\n")
        self._started.text = rest
        for line in whole:
            if line:
                logger.info("printed", extra={"action": "print", "text": line})
        return len(text)


def take_stdout() -> IO[str]:
    """The stream of the protocol. From then on file descriptor 1 is stderr."""
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = cast("IO[str]", PrintedLines())
    return protocol


def incarnation_of(stream: Stream, clock: Clock, sleep: Callable[[float], object], give_up_after: float) -> int:
    """The incarnation of the stream, once the stream answers.

    Raises:
        StreamUnavailable: it has not answered for `give_up_after` seconds.
    """
    return retry_within(
        give_up_after, stream.incarnation, StreamUnavailable, elapsed=lambda: clock() / 1000, sleep=sleep
    )


def main() -> NoReturn:
    """Serve the daemon until it closes stdin."""
    protocol = take_stdout()
    parser = argparse.ArgumentParser(prog="python -m processor.kcl.child")
    parser.add_argument("--generation", type=int, required=True)
    parser.add_argument("--notes", type=Path)
    arguments = parser.parse_args()
    # The daemon stops its children after the last batch; a signal to the process group must not come first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    settings = Settings.from_env({**os.environ, "LIVEINSIGHT_BACKEND": "aws"})
    log_to_stderr(settings.log_level)
    note = Note(arguments.notes, os.getpid())
    threading.Thread(target=_leave_with_the_daemon, args=(os.getppid(),), daemon=True).start()
    try:
        _serve(settings, arguments.generation, note, protocol)
    except BaseException as error:  # noqa: BLE001 - of the library: an unreadable message, a closed pipe
        try:
            logger.critical("protocol broken", exc_info=error, extra={"action": "protocol_broken"})
            note.failed(PROTOCOL_BROKEN)
        finally:
            _leave(PROTOCOL_BROKEN)
    _leave(0)


def _serve(settings: Settings, generation: int, note: Note, protocol: IO[str]) -> None:
    from amazon_kclpy.kcl import CheckpointError, KCLProcess  # noqa: PLC0415 - after stdout has been moved

    options = ProcessorOptions.from_settings(settings)
    tune_for_records()
    metrics = WorkerMetrics.from_environment()
    stream, stores = open_stream(settings, metrics), open_generations(settings, metrics=metrics)
    store, viewed = stores(generation), Viewing(stores(FIRST), system_clock).sites

    def make_processor() -> RecordProcessor:
        incarnation = incarnation_of(stream, system_clock, time.sleep, options.give_up_after)
        return RecordProcessor(store, incarnation, options, system_clock, metrics=metrics, viewed=viewed)

    adapter = Adapter(make_processor, CheckpointError, note, _leave)
    KCLProcess(adapter, input_file=sys.stdin, output_file=protocol, error_file=sys.stderr).run()


def _leave_with_the_daemon(daemon: int) -> None:
    """End when the daemon is killed: it closes stdin, but a call may be retrying for minutes."""
    while os.getppid() == daemon:
        time.sleep(WATCH_SECONDS)
    _leave(PROTOCOL_BROKEN)


def _leave(code: int) -> NoReturn:
    """End at once, without any cleanup between the failure and the end."""
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
