"""`liveinsight worker`: the composition root of the embedded worker. Logs go to stderr, nothing to stdout."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from liveinsight.model.clock import system_clock
from liveinsight.runtime.folder_lock import WORKER_LOCK, held
from liveinsight.runtime.gc_tuning import tune_for_records
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.runtime.metrics import FOLDER_VARIABLE, WorkerMetrics
from liveinsight.settings import Settings
from liveinsight.sites.viewing import Viewing
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.wiring import open_backend, open_generations, open_stream, serve_metrics
from processor.embedded.generation_worker import GenerationWorker, threads_of, worker_of
from processor.embedded.shard_processes import ShardProcesses
from processor.embedded.shard_threads import ShardThreads
from processor.embedded.upkeep import upkeep
from processor.embedded.worker import Worker
from processor.kcl.exit_codes import MEANINGS
from processor.shard.progress import Progress

logger = logging.getLogger(__name__)

LITTLE_MEMORY = 2 << 30
"""Bytes of memory below which the default is one process."""

_EXIT_CODES = "\n".join(f"  {code:<3} {text}" for code, text in MEANINGS.items())


@click.command(epilog=f"\b\nExit codes with --runtime kcl:\n{_EXIT_CODES}")
@click.option(
    "--runtime",
    type=click.Choice(["embedded", "kcl"]),
    default="embedded",
    help="embedded: this process reads all shards; kcl: the Java daemon of the Kinesis Client Library shares them "
    "among any number of workers (`make kcl` installs it)",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    help="processes that share the shards of an embedded worker (default: one a core, on SQLite no more than "
    "LIVEINSIGHT_SHARDS; one below 2 GB of memory)",
)
@click.option(
    "--kcl",
    "properties",
    multiple=True,
    metavar="NAME=VALUE",
    help="with --runtime kcl: a property of the daemon, such as metricsLevel=SUMMARY; can be repeated",
)
def command(runtime: str, processes: int | None, properties: tuple[str, ...]) -> int:
    """Read every shard of the stream, parents before children, and keep counters and sessions up to date.

    SIGTERM or Ctrl-C drains: everything that was read is written and checkpointed. After `liveinsight rebuild switch`
    the worker drains too, and continues with the new generation of counters.

    Exit code 0 after a drain. Exit code 1 when a shard failed: nothing is checkpointed past the failure, and the next
    start continues without a gap or a double count. It is also 1 when too many records of a shard cannot be decoded
    (LIVEINSIGHT_DEAD_LETTER_LIMIT); the message says what to do.

    With --runtime kcl a supervisor must restart the worker, and wait 45 seconds after SIGTERM. JAVA_TOOL_OPTIONS has
    more options for Java.

    \b
    Examples:
      liveinsight worker
      liveinsight worker --runtime kcl --kcl failoverTimeMillis=5000
    """
    if properties and runtime != "kcl":
        raise click.UsageError("--kcl is for --runtime kcl")
    if processes and runtime == "kcl":
        raise click.UsageError("--processes is for --runtime embedded: the daemon of the library has a process a shard")
    # The library works on AWS only.
    environ = {**os.environ, "LIVEINSIGHT_BACKEND": "aws"} if runtime == "kcl" else os.environ
    settings = Settings.from_env(environ)
    log_to_stderr(settings.log_level)
    if runtime == "kcl":
        from processor.kcl import launcher  # noqa: PLC0415 - it brings boto3, which one machine does not need

        return launcher.run(settings, list(properties), environ)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="liveinsight-metrics-"))
        # Children of this process add to the same numbers.
        os.environ.setdefault(FOLDER_VARIABLE, folder)
        if not settings.on_aws:
            stack.enter_context(held(Path(settings.data_dir) / WORKER_LOCK, "liveinsight worker", system_clock()))
        _run(settings, processes or _default_processes(settings), stop)
    return 0


def _run(settings: Settings, processes: int, stop: threading.Event) -> None:
    backend = open_backend(settings)
    backend.check_version()
    metrics = WorkerMetrics.from_environment()
    serve_metrics(settings, metrics)
    stream, stores = open_stream(settings, metrics), open_generations(settings, metrics=metrics)

    def make_worker(generation: int) -> Worker:
        threads = partial(_threads, settings, generation)
        crew = threads() if processes == 1 else ShardProcesses(processes, threads, preload=[__name__, "datasketches"])
        return worker_of(settings, stream, stores(generation), generation, crew)

    worker = GenerationWorker(lambda: load_pointer(stores(FIRST)).newest, make_worker)
    logger.info("worker begins", extra={"action": "begin", "stream": settings.stream_name, "processes": processes})
    try:
        with upkeep(backend.upkeep, system_clock):
            worker.run(stop)
    finally:
        _log_summary(worker.workers)


def _threads(settings: Settings, generation: int) -> ShardThreads:
    """What drives shards, in this process or in a child of it."""
    log_to_stderr(settings.log_level)
    tune_for_records()
    metrics = WorkerMetrics.from_environment()
    stream, stores = open_stream(settings, metrics), open_generations(settings, metrics=metrics)
    viewed = Viewing(stores(FIRST), system_clock).sites
    return threads_of(settings, stream, stores(generation), system_clock, viewed=viewed, metrics=metrics)


def _default_processes(settings: Settings) -> int:
    """One a core, as a process keeps one core busy, on SQLite one a shard at most; one where memory is scarce."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 1 if memory < LITTLE_MEMORY else cores if settings.on_aws else min(cores, settings.shards)


def _log_summary(workers: Sequence[Worker]) -> None:
    cpu_seconds = round(time.process_time() + sum(worker.cpu_seconds for worker in workers), 3)
    totals = asdict(Progress.sum(worker.progress for worker in workers))
    extra = {"action": "end", "cpu_seconds": cpu_seconds, "max_rss_kb": _max_rss_kb(), **totals}
    logger.info("worker ends", extra=extra)


def _max_rss_kb() -> int:
    """The most memory that this program has had; `getrusage` alone would count that of who started it, too."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
