"""`liveinsight worker`: the composition root of the embedded worker. Logs go to stderr, nothing to stdout."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from liveinsight.model.clock import system_clock
from liveinsight.runtime.gc_tuning import tune_for_records
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.wiring import open_generations, open_stream, serve_metrics
from processor.embedded.generation_worker import GenerationWorker, worker_of
from processor.embedded.worker import Worker
from processor.kcl import launcher
from processor.kcl.exit_codes import MEANINGS
from processor.shard.progress import Progress

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Entry point. Exit code 0 after a drain, 1 when a shard failed (start it again: it replays)."""
    parser = argparse.ArgumentParser(
        prog="liveinsight worker",
        description=_filled(
            "Read every shard of the stream, parents before children, and keep the counters and sessions. SIGTERM or "
            "Ctrl-C drains: everything read is written and checkpointed before it leaves. After `liveinsight rebuild "
            "switch` it drains, too, and goes on with the new generation of counters."
        ),
        epilog=_filled(
            "Exit code 0 after a drain. Exit code 1 when a shard failed beyond repair: nothing is checkpointed past "
            "the failure, so start it again and it goes on without a gap or a double count. It also ends with 1, and "
            "says what to do, when too many records of a shard cannot be decoded (LIVEINSIGHT_DEAD_LETTER_LIMIT)."
        )
        + "\n\n"
        + _filled(
            "With --runtime kcl nothing is restarted by itself: let a supervisor do it, and let it wait 45 seconds "
            "after SIGTERM. More options for Java come from JAVA_TOOL_OPTIONS. Exit codes:"
        )
        + "".join(f"\n  {code:3} {meaning}" for code, meaning in MEANINGS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runtime",
        choices=("embedded", "kcl"),
        default="embedded",
        help="who deals with shards: this process (embedded, the default), or the Kinesis Client Library, whose Java "
        "daemon shares the shards among any number of workers (kcl; `make kcl` installs it)",
    )
    parser.add_argument(
        "--kcl",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with --runtime kcl: a property of the daemon, e.g. metricsLevel=SUMMARY or failoverTimeMillis=5000; "
        "may be given again",
    )
    parsed = parser.parse_args(arguments)
    if parsed.kcl and parsed.runtime != "kcl":
        parser.error("--kcl is for --runtime kcl")
    settings = Settings.from_env(os.environ)
    log_to_stderr(settings.log_level)
    if parsed.runtime == "kcl":
        return launcher.run(settings, parsed.kcl, os.environ)
    tune_for_records()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = WorkerMetrics()
    serve_metrics(settings, metrics)
    stream, stores = open_stream(settings, metrics), open_generations(settings, metrics=metrics)
    worker = GenerationWorker(
        lambda: load_pointer(stores(FIRST)).newest,
        lambda generation: worker_of(settings, stream, stores(generation), generation, system_clock, metrics=metrics),
    )
    logger.info("worker begins", extra={"action": "begin", "stream": settings.stream_name})
    try:
        worker.run(stop)
    finally:
        _log_summary(worker.workers)
    return 0


def _filled(text: str) -> str:
    return textwrap.fill(text, 100)


def _log_summary(workers: Sequence[Worker]) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    progress = [processor.progress for worker in workers for processor in worker.processors.values()]
    totals = {field.name: sum(getattr(p, field.name) for p in progress) for field in fields(Progress)}
    cpu_seconds = round(usage.ru_utime + usage.ru_stime, 3)
    extra = {"action": "end", "cpu_seconds": cpu_seconds, "max_rss_kb": _max_rss_kb(), **totals}
    logger.info("worker ends", extra=extra)


def _max_rss_kb() -> int:
    """The most memory that this program has had; `getrusage` alone would count that of who started it, too."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
