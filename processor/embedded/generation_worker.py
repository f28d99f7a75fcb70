"""Runs a worker for the newest active generation of counters, and replaces it when another generation becomes active.

In: functions that give the newest generation and the worker of a generation. Promises: a worker is drained before the
next one begins. Each generation continues from its own checkpoints, so nothing is lost or counted twice in any of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor

from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.runtime.retry import answer_or, retry_until
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST
from liveinsight.storage.store import Store
from liveinsight.storage.stream import StartAt, Stream
from processor.embedded.shard_threads import Crew, ShardThreads
from processor.embedded.worker import Worker
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often to check for another active generation."""
TICK_SECONDS = 0.1


def threads_of(
    settings: Settings,
    stream: Stream,
    store: Store,
    clock: Clock,
    *,
    viewed: Callable[[], Collection[str] | None] = lambda: None,
    poll_interval: float = 0.0,
    metrics: WorkerMetrics | None = None,
) -> ShardThreads:
    """Threads that drive shards into `store`, configured by `settings`; see `RecordProcessor` for `viewed`."""
    options = ProcessorOptions.from_settings(settings)
    return ShardThreads(
        stream,
        store,
        lambda incarnation: RecordProcessor(store, incarnation, options, clock, metrics=metrics, viewed=viewed),
        poll_interval or settings.poll_interval,
    )


def worker_of(settings: Settings, stream: Stream, store: Store, generation: int, crew: Crew) -> Worker:
    """The worker of one generation, configured by `settings`; `crew` writes to `store`."""
    # LATEST is about the first start of the product: a rebuild reads everything.
    start_at = settings.start_at if generation == FIRST else StartAt.TRIM_HORIZON
    return Worker(stream, store, crew, start_at=start_at)


def run_until(
    worker: Worker, stop: threading.Event, enough: Callable[[], bool], *, look_seconds: float = LOOK_SECONDS
) -> None:
    """Run a worker until `stop` is set or `enough`, called every `look_seconds`, is true; then drain it.

    Raises:
        LiveInsightError: a shard failed; nothing is checkpointed past the failure.
    """
    halt = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        running = pool.submit(worker.run, halt)
        try:
            _wait(running, stop, enough, look_seconds)
        finally:
            halt.set()
    running.result()


def _wait(running: Future[None], stop: threading.Event, enough: Callable[[], bool], look_seconds: float) -> None:
    waited = 0.0
    while not running.done() and not stop.wait(TICK_SECONDS):
        waited += TICK_SECONDS
        if waited >= look_seconds:
            waited = 0.0
            if enough():
                return


class GenerationWorker:
    """Runs until it is stopped or a shard fails.

    Args:
        newest: gives the generation to write.
        make_worker: makes the worker of a generation.
        look_seconds: seconds between two calls of `newest`.
    """

    def __init__(
        self, newest: Callable[[], int], make_worker: Callable[[int], Worker], *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._newest = newest
        self._make_worker = make_worker
        self._look_seconds = look_seconds
        self.workers: list[Worker] = []
        """All workers so far, the current one last."""

    def run(self, stop: threading.Event) -> None:
        """Process until `stop` is set, then drain.

        Raises:
            LiveInsightError: a shard failed; nothing is checkpointed past the failure.
        """
        generation = retry_until(stop.is_set, self._newest, LiveInsightError, sleep=stop.wait)
        while generation is not None and not stop.is_set():
            self._run_one(generation, stop)
            generation = self._ask(generation)

    def _run_one(self, generation: int, stop: threading.Event) -> None:
        logger.info("generation", extra={"action": "generation", "generation": generation})
        worker = self._make_worker(generation)
        self.workers.append(worker)
        run_until(worker, stop, lambda: self._ask(generation) != generation, look_seconds=self._look_seconds)

    def _ask(self, current: int) -> int:
        return answer_or(current, self._newest, LiveInsightError)
