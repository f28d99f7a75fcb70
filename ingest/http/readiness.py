"""Whether ingest can do its work: it knows the sites, the stream takes records, and not too much waits for it.

While events come in, their own fate tells. When none came lately, or the last ones failed, a record without events is
put onto the stream: nothing else shows that this process may write to it, and readers pass over such a record.
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
"""How long it counts that the stream has taken something."""
TROUBLE_SECONDS = 1.0
"""How long a failed attempt counts."""

MESSAGES = {
    Reason.STREAM_UNAVAILABLE: "the stream does not take records",
    Reason.STREAM_REFUSED: "the stream refuses us; the log says why: see to access rights, stream name and key",
    Reason.STORE_UNAVAILABLE: "the sites are not known, as the store does not answer",
    Reason.QUEUE_FULL: "too many requests wait for the stream",
}


class Readiness:
    """The answer to "can events be taken now?". Thread safe; asks the stream rarely, however often it is asked.

    Args:
        stream: knows how the last calls fared, and is tried when that is not known.
        full: whether the next request would be turned away.
        sites: gives the sites, or raises `StoreUnavailable` when they have never been seen.
    """

    def __init__(self, stream: ObservedStream, full: Callable[[], bool], sites: Callable[[], object]) -> None:
        self._stream = stream
        self._full = full
        self._sites = sites
        self._tried_at = float("-inf")
        self._trouble: Reason | None = Reason.STREAM_UNAVAILABLE
        self._trying = threading.Lock()

    def trouble(self) -> Reason | None:
        """None when all is well."""
        stream, now = self._stream, self._stream.elapsed()
        if self._full():
            return Reason.QUEUE_FULL
        try:
            self._sites()
        except StoreUnavailable:
            return Reason.STORE_UNAVAILABLE
        if stream.taken_at >= stream.failed_at and now - stream.taken_at < FRESH_SECONDS:
            return None
        # A try on a stream that hangs takes seconds: others are told what is known meanwhile.
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
