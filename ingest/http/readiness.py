"""Readiness: the sites are known, the stream takes records, and the queue is not full.

In: the results of the last writes to the stream. Out: a reason why events cannot be taken now, or None. When there was
no write lately, or the last one failed, a record without events is written: nothing else shows that this process may
write to the stream. Readers skip such a record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ingest.contract.reasons import Reason
from ingest.delivery.observed_stream import ObservedStream, StreamMisconfigured
from liveinsight.model.errors import StoreUnavailable, StreamUnavailable
from liveinsight.model.events import encode_record, partition_key
from liveinsight.storage.stream import OutRecord

FRESH_SECONDS = 5.0
"""How long a successful write counts."""
TROUBLE_SECONDS = 1.0
"""How long a failed write counts."""

MESSAGES = {
    Reason.STREAM_UNAVAILABLE: "the stream does not take records",
    Reason.STREAM_REFUSED: "the stream refuses writes; the log says why: check access rights, stream name and key",
    Reason.STORE_UNAVAILABLE: "the sites are not known, as the store does not answer",
    Reason.QUEUE_FULL: "too many requests wait for the stream",
}


class Readiness:
    """Whether events can be taken now. Thread safe; writes to the stream once a second at most.

    Args:
        stream: knows the results of the last writes, and is written to when they are too old.
        full: whether the queue is full.
        sites: gives the current sites, or raises `StoreUnavailable`.
    """

    def __init__(self, stream: ObservedStream, full: Callable[[], bool], sites: Callable[[], object]) -> None:
        self._stream = stream
        self._full = full
        self._sites = sites
        self._tried_at = float("-inf")
        self._trouble: Reason | None = Reason.STREAM_UNAVAILABLE
        self._trying = threading.Lock()

    def trouble(self) -> Reason | None:
        """The reason why events cannot be taken; None if they can."""
        stream, now = self._stream, self._stream.elapsed()
        if self._full():
            return Reason.QUEUE_FULL
        try:
            self._sites()
        except StoreUnavailable:
            return Reason.STORE_UNAVAILABLE
        if stream.taken_at >= stream.failed_at and now - stream.taken_at < FRESH_SECONDS:
            return None
        # A write to a hanging stream takes seconds: meanwhile other threads get the last result.
        if now - self._tried_at >= TROUBLE_SECONDS and self._trying.acquire(blocking=False):
            try:
                self._trouble = self._try()
                self._tried_at = stream.elapsed()
            finally:
                self._trying.release()
        return self._trouble

    def _try(self) -> Reason | None:
        try:
            [outcome] = self._stream.put([OutRecord(partition_key(0), encode_record([]))])
        except StreamMisconfigured:
            return Reason.STREAM_REFUSED
        except StreamUnavailable:
            return Reason.STREAM_UNAVAILABLE
        return None if outcome.sequence_number else Reason.STREAM_UNAVAILABLE
