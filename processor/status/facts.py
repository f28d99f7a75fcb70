"""Facts about each shard: from the stream, the checkpoints, the watermarks and the leases.

In: a stream, the store of a generation, and the leases. Out: `Facts` of one moment. It reads one record a shard and a
few items; the cost does not depend on the size of the backlog.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from liveinsight.storage.backend import Lease
from liveinsight.storage.store import SHARD_END, Checkpoint, DeadLetterSummary, Watermark
from liveinsight.storage.store import Read as ReadAnswer
from liveinsight.storage.stream import Shard, StartAt, Stream
from processor.status.backlog import Backlog, ask_stream, find_backlog

DEAD_LETTERS_COUNTED = 100
"""Dead letters are counted up to this number: more reads would cost more than the answer is worth."""


class StatusStore(Protocol):
    """The part of the store that status reads."""

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        """See `liveinsight.storage.store`."""

    def read_watermarks(self) -> ReadAnswer[Watermark]:
        """See `liveinsight.storage.store`."""

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        """See `liveinsight.storage.store`."""


@dataclass(frozen=True)
class ShardFacts:
    """One shard at one moment. Times are epoch ms."""

    shard_id: str
    parents: tuple[str, ...]
    children: tuple[str, ...]
    checkpoint: str
    """A sequence number, `SHARD_END`, or "" without a checkpoint."""
    flushed_up_to: int | None
    """Earlier arrivals are in the counters. It moves with every flush, and on a quiet shard with every tick."""
    backlog_since: int | None
    """Arrival time of the oldest record beyond the checkpoint."""
    ended: bool
    """The shard is closed and counted completely."""
    lease: Lease | None

    @property
    def begun(self) -> bool:
        """Whether a worker has ever read it."""
        return bool(self.checkpoint) or self.flushed_up_to is not None


@dataclass(frozen=True)
class Facts:
    """All shards at one moment."""

    at: int
    shards: tuple[ShardFacts, ...]
    lost: tuple[str, ...]
    """Shards that the stream dropped before they were read to their end."""
    dead_letters: int


def furthest(*sequence_numbers: str) -> str:
    """The furthest of several checkpoints of one shard; "" and words such as TRIM_HORIZON are before all."""
    known = [number for number in sequence_numbers if number == SHARD_END or number.isdigit()]
    return max(known, key=lambda number: (number == SHARD_END, int(number) if number.isdigit() else 0), default="")


def gather(
    stream: Stream,
    store: StatusStore,
    leases: Mapping[str, Lease],
    *,
    now: int,
    start_at: StartAt,
    sleep: Callable[[float], object] = time.sleep,
) -> Facts:
    """Read the facts of now.

    Raises:
        LiveInsightError: stream or store do not answer, or refuse.
    """
    shards, incarnation = ask_stream(stream.shards, sleep), ask_stream(stream.incarnation, sleep)
    checkpoints = {
        shard: point.sequence_number
        for shard, point in store.load_checkpoints().items()
        if point.incarnation == incarnation
    }
    marks = {mark.shard_id: mark for mark in store.read_watermarks().rows if mark.incarnation == incarnation}
    find = _Backlogs(stream, shards, start_at, now, sleep)
    rows = []
    for shard in shards:
        lease = leases.get(shard.shard_id)
        checkpoint = furthest(checkpoints.get(shard.shard_id, ""), lease.checkpoint if lease else "")
        mark = marks.get(shard.shard_id)
        rows.append(_facts(find, shard, checkpoint, mark, lease))
    listed = {shard.shard_id for shard in shards}
    lost = [
        mark.shard_id
        for mark in marks.values()
        if mark.shard_id not in listed and not mark.closed and checkpoints.get(mark.shard_id) != SHARD_END
    ]
    return Facts(now, tuple(rows), tuple(lost), len(store.list_dead_letters(DEAD_LETTERS_COUNTED)))


@dataclass(frozen=True)
class _Backlogs:
    """Finds the backlog of a shard from what is known about it."""

    stream: Stream
    shards: list[Shard]
    start_at: StartAt
    now: int
    sleep: Callable[[float], object]

    def backlog(self, shard: Shard, checkpoint: str, mark: Watermark | None) -> Backlog:
        if checkpoint == SHARD_END or (mark and mark.closed):
            return Backlog(None, True)
        not_before = 0
        if not checkpoint and self.start_at is StartAt.LATEST and not self._has_listed_parent(shard):
            # Records from before the first start are not counted; before a first start there is no backlog.
            if mark is None or not mark.as_of:
                return Backlog(None, False)
            not_before = mark.as_of
        return find_backlog(
            self.stream,
            shard.shard_id,
            checkpoint or None,
            not_before=not_before,
            now=self.now,
            sleep=self.sleep,
        )

    def _has_listed_parent(self, shard: Shard) -> bool:
        """The child of a listed shard is read from its beginning, wherever reading began."""
        return any(parent.shard_id in shard.parents for parent in self.shards)


def _facts(find: _Backlogs, shard: Shard, checkpoint: str, mark: Watermark | None, lease: Lease | None) -> ShardFacts:
    backlog = find.backlog(shard, checkpoint, mark)
    return ShardFacts(
        shard_id=shard.shard_id,
        parents=shard.parents,
        children=tuple(child.shard_id for child in find.shards if shard.shard_id in child.parents),
        checkpoint=checkpoint,
        flushed_up_to=max(mark.as_of, mark.fresh_as_of) if mark else None,
        backlog_since=backlog.since,
        ended=backlog.at_end,
        lease=lease,
    )
