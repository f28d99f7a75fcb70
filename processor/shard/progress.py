"""What a record processor has done: as a total for the log, and as metrics of the worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from liveinsight.runtime.metrics import WorkerMetrics
from processor.shard.flush_schedule import Flush


@dataclass
class Progress:
    """What a processor has done since it started."""

    records: int = 0
    events: int = 0
    skipped: int = 0
    dead_letters: int = 0
    counter_writes: int = 0
    visitor_writes: int = 0

    @classmethod
    def sum(cls, many: Iterable[Progress]) -> Progress:
        """All of them together."""
        rows = [astuple(cls()), *map(astuple, many)]
        return cls(*map(sum, zip(*rows, strict=True)))


class ShardMetrics:
    """Reports one shard's work to the metrics of the worker, if there are any."""

    def __init__(self, metrics: WorkerMetrics | None, shard_id: str) -> None:
        self._metrics = metrics
        self._shard_id = shard_id
        self._reported = Progress()

    def processed(self, progress: Progress, millis_behind: int) -> None:
        """Report the work since the last call, and how far the shard is behind."""
        if self._metrics is None:
            return
        for name in ("records", "events", "skipped", "dead_letters"):
            done = getattr(progress, name)
            getattr(self._metrics, name).inc(done - getattr(self._reported, name))
            setattr(self._reported, name, done)
        self._metrics.lag.labels(self._shard_id).set(millis_behind)

    def flushed(self, flush: Flush, took_ms: int) -> None:
        """Report a flush."""
        if self._metrics:
            self._metrics.flush_seconds.labels(flush.name.lower()).observe(took_ms / 1000)

    def retried(self) -> None:
        """Report a step that is repeated."""
        if self._metrics:
            self._metrics.retries.inc()

    def ended(self) -> None:
        """The shard is done here, so it has no lag."""
        if self._metrics:
            self._metrics.lag.labels(self._shard_id).set(0)
