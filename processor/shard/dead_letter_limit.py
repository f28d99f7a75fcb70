"""The share of undecodable records at which the worker stops.

A single undecodable record becomes a dead letter, and the worker continues. A producer with a newer or foreign format
makes every record undecodable: then it is better to stop, with the records safe on the stream, than to drain it.

The limit counts records, not time, so batches and the pace of the stream make no difference. Before the first records
of a processor everything counts as decoded: each restart allows at most one limit's worth of dead letters.
"""

from __future__ import annotations

from collections import Counter, deque

from liveinsight.model.errors import TooManyDeadLetters, UndecodableRecord
from liveinsight.runtime.terminal_text import printable

WINDOW = 100
"""Number of latest records that the share is taken of."""
ALWAYS_ALLOWED = 2
"""Undecodable records in the window that are always allowed, however low the limit."""


class DeadLetterLimit:
    """Counts the undecodable records of one shard.

    Args:
        share: fraction of the window that may be undecodable; 1 allows everything.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._allowed = max(ALWAYS_ALLOWED, int(share * WINDOW + 1e-9))
        self._reasons: deque[str] = deque(maxlen=WINDOW)
        self._undecodable = 0

    def note_decoded(self) -> None:
        """Note a decoded record."""
        self._note("")

    def note_undecodable(self, shard_id: str, error: UndecodableRecord) -> None:
        """Note an undecodable record.

        Raises:
            TooManyDeadLetters: the limit is exceeded.
        """
        self._note(error.reason)
        if self._undecodable > self._allowed:
            raise TooManyDeadLetters(self._message(shard_id, error))

    def _note(self, reason: str) -> None:
        if len(self._reasons) == WINDOW and self._reasons[0]:
            self._undecodable -= 1
        self._reasons.append(reason)
        if reason:
            self._undecodable += 1

    def _message(self, shard_id: str, error: UndecodableRecord) -> str:
        reasons = Counter(reason for reason in self._reasons if reason)
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        return (
            f"shard {shard_id}: {self._undecodable} of the last {WINDOW} records cannot be decoded "
            f"({found}; {printable(str(error))}), "
            f"more than LIVEINSIGHT_DEAD_LETTER_LIMIT={self._share:g} allows. They are safe on the stream, and nothing "
            "since the last checkpoint is lost. If ingest was deployed first, deploy this worker in the same version "
            "and start it again; if something else writes to the stream, stop that. To keep the records as "
            "dead letters and go on, start once with LIVEINSIGHT_DEAD_LETTER_LIMIT=1 and look at them with "
            "`liveinsight dlq list`."
        )
