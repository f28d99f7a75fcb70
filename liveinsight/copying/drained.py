"""Whether a backend has counted all that is on its stream.

In: a backend and its stream. Out: how far each shard is counted, and the shards with records beyond that. Checkpoints
decide: they are written after everything else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from liveinsight.runtime.retry import Sleep
from liveinsight.storage.backend import Backend
from liveinsight.storage.store import SHARD_END
from liveinsight.storage.stream import StartAt, Stream

READ_PAUSE = 0.25
"""Seconds between reads of a shard. Kinesis allows five a second, and the worker needs most of them."""


def reached(backend: Backend, stream: Stream, generation: int) -> dict[str, str]:
    """By shard, the sequence number of the last record that is counted, or `SHARD_END`.

    The embedded worker and Lambda keep checkpoints in the store, the Kinesis Client Library in its leases.
    """
    incarnation = stream.incarnation()
    leases = {shard: lease.checkpoint for shard, lease in backend.leases(generation).items()}
    points = {shard: point for shard, point in leases.items() if point.isdigit() or point == SHARD_END}
    for shard, checkpoint in backend.store(generation).load_checkpoints().items():
        if checkpoint.incarnation == incarnation:
            points[shard] = max(points.get(shard, ""), checkpoint.sequence_number, key=_rank)
    return dict(sorted(points.items()))


def uncounted(stream: Stream, points: Mapping[str, str], sleep: Sleep = time.sleep) -> list[str]:
    """The shards that have records beyond `points`."""
    shards = [shard.shard_id for shard in stream.shards()]
    return [
        shard
        for shard in shards
        if points.get(shard) != SHARD_END and _has_records(stream, shard, points.get(shard), sleep)
    ]


def _rank(point: str) -> tuple[bool, int]:
    return point == SHARD_END, int(point) if point.isdigit() else 0


def _has_records(stream: Stream, shard: str, after: str | None, sleep: Sleep) -> bool:
    iterator: str | None = stream.iterator(shard, after=after, start=StartAt.TRIM_HORIZON)
    while iterator:
        batch = stream.read(iterator, 1)
        if batch.records:
            return True
        # An empty answer is no end as long as the stream says that there is more.
        iterator = batch.next_iterator if batch.millis_behind else None
        if iterator:
            sleep(READ_PAUSE)
    return False
