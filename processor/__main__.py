"""`liveinsight worker`: the composition root of the embedded worker. Logs go to stderr, nothing to stdout."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import sys
import threading
from dataclasses import fields

from liveinsight.clock import system_clock
from liveinsight.logs import log_to_stderr
from liveinsight.settings import Settings
from liveinsight.wiring import open_store, open_stream
from processor.record_processor import ProcessorOptions, Progress, RecordProcessor
from processor.worker import Worker

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Entry point. Exit code 0 after a drain, 1 when a shard failed (start it again: it replays)."""
    parser = argparse.ArgumentParser(
        prog="liveinsight worker",
        description="Read every shard of the stream, parents before children, and keep the counters and sessions. "
        "SIGTERM or Ctrl-C drains: everything read is written and checkpointed before it leaves.",
        epilog="Exit code 0 after a drain. Exit code 1 when a shard failed beyond repair: nothing is checkpointed "
        "past the failure, so start it again and it goes on without a gap or a double count.",
    )
    parser.parse_args(arguments)
    settings = Settings.from_env(os.environ)
    log_to_stderr(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    options = ProcessorOptions(
        counters_interval=settings.counters_interval,
        sessions_interval=settings.sessions_interval,
        session_days=settings.session_days,
        timeline_days=settings.timeline_days,
    )
    store = open_store(settings)
    worker = Worker(
        open_stream(settings),
        store,
        lambda incarnation: RecordProcessor(store, incarnation, options, system_clock),
        system_clock,
        start_at=settings.start_at,
        poll_interval=settings.poll_interval,
    )
    logger.info("worker begins", extra={"action": "begin", "stream": settings.stream_name})
    try:
        worker.run(stop)
    finally:
        _log_summary(worker)
    return 0


def _log_summary(worker: Worker) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    progress = [processor.progress for processor in worker.processors.values()]
    totals = {field.name: sum(getattr(p, field.name) for p in progress) for field in fields(Progress)}
    cpu_seconds = round(usage.ru_utime + usage.ru_stime, 3)
    logger.info(
        "worker ends",
        extra={"action": "end", "cpu_seconds": cpu_seconds, "max_rss_kb": usage.ru_maxrss, **totals},
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
