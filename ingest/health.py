"""Whether ingest can do its work: the stream answers. Asked at most every few seconds, however often probes come."""

from __future__ import annotations

from ingest.reasons import Reason
from liveinsight.clock import Clock
from liveinsight.errors import StreamUnavailable
from liveinsight.stream import Stream

CHECKED_EVERY_MS = 5000


class Readiness:
    """A cached answer to "does the stream answer?"."""

    def __init__(self, stream: Stream, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._checked_at = -CHECKED_EVERY_MS
        self._trouble = ""

    def trouble(self) -> str:
        """Empty when all is well, else the reason."""
        now = self._clock()
        # A clock that was set back must not freeze the answer.
        if not 0 <= now - self._checked_at < CHECKED_EVERY_MS:
            try:
                self._stream.incarnation()
                self._trouble = ""
            except StreamUnavailable:
                self._trouble = Reason.STREAM_UNAVAILABLE
            self._checked_at = now
        return self._trouble
