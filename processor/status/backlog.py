"""The backlog of a shard: whether there are records beyond a position. The cost does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from liveinsight.model.errors import IteratorExpired, StreamUnavailable
from liveinsight.runtime.retry import Answer, Sleep, retry
from liveinsight.storage.stream import StartAt, Stream

EMPTY_READS = 10
"""Kinesis may answer without records although there are more: how often to read again."""
READ_PAUSE = 0.2
SKIP_LIMIT = 10_000
"""Records per read when old records are skipped."""
ATTEMPTS = 4
"""Kinesis allows five reads a second and shard, and the worker uses most of them."""


class Backlog(NamedTuple):
    """The records of a shard beyond a position."""

    since: int | None
    """Arrival time of the oldest record, epoch ms; None if there is none."""
    at_end: bool
    """Whether the shard is closed and has no more records."""


def find_backlog(
    stream: Stream,
    shard_id: str,
    after: str | None,
    *,
    not_before: int,
    now: int,
    sleep: Sleep,
) -> Backlog:
    """The backlog after a sequence number (None: of the whole shard), of records that arrived at `not_before` or later.

    If Kinesis keeps answering without records although it says that there are more, that counts as a backlog.

    Raises:
        StreamUnavailable: the stream does not answer.
    """
    iterator: str | None = None
    reads = 0
    while True:
        try:
            current = iterator or _iterator(stream, shard_id, after, sleep)
            batch = ask_stream(lambda: stream.read(current, SKIP_LIMIT if not_before else 1), sleep)  # noqa: B023
        except IteratorExpired:
            iterator = None
            continue
        for record in batch.records:
            after = record.sequence_number
            if record.arrived_at >= not_before:
                return Backlog(record.arrived_at, False)
        reads += 1
        iterator = batch.next_iterator
        if iterator is None:
            return Backlog(None, True)
        if not batch.records and not batch.millis_behind:
            return Backlog(None, False)
        if reads >= EMPTY_READS:
            return Backlog(max(now - batch.millis_behind, not_before), False)
        sleep(READ_PAUSE)


def ask_stream(call: Callable[[], Answer], sleep: Sleep) -> Answer:
    """The answer of a call to the stream, tried `ATTEMPTS` times.

    Raises:
        StreamUnavailable: the stream does not answer.
    """
    return retry(call, StreamUnavailable, attempts=ATTEMPTS, sleep=sleep)


def _iterator(stream: Stream, shard_id: str, after: str | None, sleep: Sleep) -> str:
    return ask_stream(lambda: stream.iterator(shard_id, after=after, start=StartAt.TRIM_HORIZON), sleep)
