"""One batch at a time on a shard: a claim, written before anything is counted.

In order, a shard's batches follow one another, and one that failed comes again from the same first record, until it is
done. Where Lambda works on a shard in parallel (ParallelizationFactor above 1), batches run side by side, and their
records lie between each other's: marks per shard cannot hold. So, while a claim is not done, a batch is refused that

* begins elsewhere, while the claim's invocation may still run;
* lies across it without holding its first record, even when that invocation is gone.

A claim is done when the checkpoint has reached its last record, or when it is given back. It is a document of the
store: a read and a write per invocation.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from liveinsight.model.clock import Clock
from liveinsight.storage.store import SHARD_END, Checkpoint, Document, DocumentStore
from processor.aws_lambda.event import LambdaRefused

GRACE_MS = 5_000
"""Two containers' clocks may differ by as much."""
ABANDONED_MS = 900_000
"""Lambda tries a batch again every minute or so, and each try renews its claim: one that is this old has no mapping."""
REMEDY = (
    "set ParallelizationFactor to 1 on the event source mapping. If it is 1, another invocation of the shard has just "
    "died or comes twice: this one goes on by itself when that one's time is over"
)


class _Claim(msgspec.Struct, frozen=True):
    incarnation: int
    first: str
    last: str
    until: int


class Claim:
    """An invocation's right to work on a shard until a time."""

    def __init__(self, store: DocumentStore, shard_id: str, incarnation: int, clock: Clock) -> None:
        self._store = store
        self._shard_id = shard_id
        self._name = f"lambda/{shard_id}"
        self._incarnation = incarnation
        self._clock = clock
        self._version = 0

    def look(self) -> None:
        """See who has the shard. What is loaded between this and `take` is not older than the claim.

        Raises:
            StoreUnavailable: it cannot be told.
        """
        self._document = self._store.load_document(self._name)

    def take(self, sequence_numbers: Sequence[str], until: int, checkpoint: Checkpoint | None) -> None:
        """Claim the shard for a batch, until Lambda ends the invocation; `look` comes first, then the checkpoint.

        Raises:
            LambdaRefused: another batch has it, or has just got it.
            StoreUnavailable: the claim may or may not be there.
        """
        first, last = sequence_numbers[0], sequence_numbers[-1]
        document = self._document
        held = msgspec.json.decode(document.text, type=_Claim) if document.version else None
        if held and held.first != first and not self._is_done(held, checkpoint):
            across = int(first) <= int(held.last) and int(last) >= int(held.first)
            patience = ABANDONED_MS if across and held.first not in set(sequence_numbers) else GRACE_MS
            if self._clock() < held.until + patience:
                raise LambdaRefused(
                    f"shard {self._shard_id}: two batches are being processed at once, {_short(held.first)} to "
                    f"{_short(held.last)} and {_short(first)} to {_short(last)}: {REMEDY}"
                )
        self._version = document.version + 1
        mine = _Claim(self._incarnation, first, last, until)
        if not self._store.save_document(self._name, Document(self._version, msgspec.json.encode(mine).decode())):
            raise LambdaRefused(f"shard {self._shard_id}: another invocation began at the same moment: {REMEDY}")

    def release(self) -> None:
        """The invocation ends without having done all: what comes next may begin at another record.

        Raises:
            StoreUnavailable: it was perhaps not given back, and ends with its time.
        """
        over = _Claim(self._incarnation, "", "", 0)
        # Refused when somebody has taken it over, which is as good.
        self._store.save_document(self._name, Document(self._version + 1, msgspec.json.encode(over).decode()))

    def _is_done(self, held: _Claim, checkpoint: Checkpoint | None) -> bool:
        if held.incarnation != self._incarnation or not held.until:
            return True
        if checkpoint is None:
            return False
        return checkpoint.sequence_number == SHARD_END or int(checkpoint.sequence_number) >= int(held.last)


def _short(sequence_number: str) -> str:
    return sequence_number if len(sequence_number) <= 20 else f"...{sequence_number[-16:]}"
