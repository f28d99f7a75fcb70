"""The stream as ingest uses it: every put is measured, and its result is remembered for /readyz.

A permanent failure (no access, no such stream) is temporary to a browser: it retries later. So it becomes a
`StreamUnavailable` here; operators see the difference in the log and at /readyz.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from liveinsight.model.errors import LiveInsightError, StreamRefused, StreamUnavailable
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.storage.stream import OutRecord, PutOutcome, Sink

logger = logging.getLogger(__name__)

REFUSED_RETRY_AFTER = 10.0
_SECONDS_BETWEEN_COMPLAINTS = 1.0


class StreamMisconfigured(StreamUnavailable):
    """Permanent failure: the stream takes no records until an operator has corrected its configuration."""


class ObservedStream:
    """Puts records, and knows when that last succeeded and failed. Thread safe.

    Args:
        stream: where records go.
        metrics: records the duration of calls.
        elapsed: monotonic seconds.
    """

    def __init__(self, stream: Sink, metrics: IngestMetrics, elapsed: Callable[[], float]) -> None:
        self._stream = stream
        self._metrics = metrics
        self.elapsed = elapsed
        self.taken_at = float("-inf")
        """When the last record was taken, in seconds of `elapsed`."""
        self.failed_at = float("-inf")
        """When the last call took no record."""
        self._complained_at = float("-inf")

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        """As `Stream.put`; `StreamRefused` becomes `StreamMisconfigured`."""
        began = self.elapsed()
        try:
            outcomes = self._stream.put(records)
        except LiveInsightError as error:
            self.failed_at = self.elapsed()
            self._metrics.failed_calls.inc()
            self._complain(str(error))
            if isinstance(error, StreamRefused):
                raise StreamMisconfigured(str(error), retry_after=REFUSED_RETRY_AFTER) from error
            raise
        finally:
            self._metrics.call_seconds.observe(self.elapsed() - began)
        self._metrics.call_records.observe(len(records))
        refusals = [outcome.error for outcome in outcomes if not outcome.sequence_number]
        if refusals:
            self._complain(f"{len(refusals)} of {len(outcomes)} records were not taken: {refusals[0]}")
        if len(refusals) < len(outcomes):
            self.taken_at = self.elapsed()
        else:
            self.failed_at = self.elapsed()
        return outcomes

    def _complain(self, detail: str) -> None:
        # A stream that is down fails hundreds of calls a second, all for one reason.
        now = self.elapsed()
        if now - self._complained_at >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained_at = now
            logger.warning("the stream does not take records: %s", detail, extra={"action": "put_records"})
