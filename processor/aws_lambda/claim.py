"""A claim on a shard, written before a batch is counted: one batch at a time.

Normally the batches of a shard follow one another, and a failed batch comes again with the same first record until it
succeeds. With a ParallelizationFactor above 1, batches of a shard run at the same time with interleaved records, and
marks per shard do not work. So while a claim is open, a batch is refused that

* begins with another record, while the invocation of the claim may still run;
* overlaps the claim without holding its first record, even after that invocation.

A claim ends when the checkpoint has reached its last record, or when it is released. It is a document of the store: one
read and one write per invocation.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from liveinsight.model.clock import Clock
from liveinsight.storage.store import SHARD_END, Checkpoint, Document, DocumentStore
from processor.aws_lambda.event import LambdaRefused

GRACE_MS = 5_000
"""Allowance for differing clocks of two containers."""
ABANDONED_MS = 900_000
"""Lambda retries a batch about every minute and each try renews the claim, so the mapping of an older one is gone."""
REMEDY = (
    "set ParallelizationFactor to 1 on the event source mapping. If it is 1, another invocation of the shard has just "
    "died or was delivered twice: this one succeeds when the time of the other one is over"
)


class _StoredClaim(msgspec.Struct, frozen=True):
    incarnation: int
    first: str
    last: str
    until: int


class Claim:
    """The right of an invocation to process a shard until a given time."""

    def __init__(self, store: DocumentStore, shard_id: str, incarnation: int, clock: Clock) -> None:
        self._store = store
        self._shard_id = shard_id
        self._name = f"lambda/{shard_id}"
        self._incarnation = incarnation
        self._clock = clock
        self._version = 0

    def look(self) -> None:
        """Load the current claim. Anything loaded between this and `take` is newer than that claim.

        Raises:
            StoreUnavailable: the claim is unknown.
        """
        self._document = self._store.load_document(self._name)

    def take(self, sequence_numbers: Sequence[str], until: int, checkpoint: Checkpoint | None) -> None:
        """Claim the shard for a batch until Lambda ends the invocation. Call `look` first, then load the checkpoint.

        Raises:
            LambdaRefused: another batch has the claim.
            StoreUnavailable: the claim may or may not be written.
        """
        first, last = sequence_numbers[0], sequence_numbers[-1]
        document = self._document
        held = msgspec.json.decode(document.text, type=_StoredClaim) if document.version else None
        if held and held.first != first and not self._is_done(held, checkpoint):
            across = int(first) <= int(held.last) and int(last) >= int(held.first)
            grace = ABANDONED_MS if across and held.first not in set(sequence_numbers) else GRACE_MS
            if self._clock() < held.until + grace:
                raise LambdaRefused(
                    f"shard {self._shard_id}: two batches are being processed at once, {_short(held.first)} to "
                    f"{_short(held.last)} and {_short(first)} to {_short(last)}: {REMEDY}"
                )
        self._version = document.version + 1
        mine = _StoredClaim(self._incarnation, first, last, until)
        if not self._store.save_document(self._name, Document(self._version, msgspec.json.encode(mine).decode())):
            raise LambdaRefused(f"shard {self._shard_id}: another invocation began at the same moment: {REMEDY}")

    def release(self) -> None:
        """End the claim although the batch is not finished: the next batch may begin with another record.

        Raises:
            StoreUnavailable: the claim may still be there; it ends with its time.
        """
        over = _StoredClaim(self._incarnation, "", "", 0)
        # Refused when another invocation has taken the claim over, which ends it, too.
        self._store.save_document(self._name, Document(self._version + 1, msgspec.json.encode(over).decode()))

    def _is_done(self, held: _StoredClaim, checkpoint: Checkpoint | None) -> bool:
        if held.incarnation != self._incarnation or not held.until:
            return True
        if checkpoint is None:
            return False
        return checkpoint.sequence_number == SHARD_END or int(checkpoint.sequence_number) >= int(held.last)


def _short(sequence_number: str) -> str:
    return sequence_number if len(sequence_number) <= 20 else f"...{sequence_number[-16:]}"
