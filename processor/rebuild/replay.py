"""What a generation that is being rebuilt has replayed: from which arrival time on it is complete, and how far it is.

In: the stream, the checkpoints and watermarks of a generation. Out: times, epoch ms. Kinesis does not report what it
has trimmed. It keeps records for at least a day, so a rebuild that pauses for longer may have missed some.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from threading import local

import msgspec

from liveinsight.model.errors import LiveInsightError
from liveinsight.storage.store import Document, Store, Watermark
from liveinsight.storage.stream import OutRecord, PutOutcome, RecordBatch, Shard, StartAt, Stream
from processor.verify.stream_reader import LEAST_RETENTION, READ_PAUSE, roots

REPLAY = "replay"
"""Name of the document in the store of the generation."""


class Replay(msgspec.Struct, frozen=True):
    """A generation holds all arrivals from `since` on (None: since the stream was created)."""

    incarnation: int
    since: int | None
    began: int

    @property
    def first_arrival(self) -> int:
        """All arrivals from this time on are counted."""
        return self.incarnation if self.since is None else self.since


class PacedStream:
    """A `Stream` with a pause between reads. Kinesis allows five reads a second and shard, which all readers share."""

    def __init__(self, stream: Stream, pause: float, sleep: Callable[[float], object] = time.sleep) -> None:
        self._stream = stream
        self._pause = pause
        self._sleep = sleep
        self._threads = local()

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        return self._stream.put(records)

    def incarnation(self) -> int:
        return self._stream.incarnation()

    def shards(self) -> list[Shard]:
        return self._stream.shards()

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        return self._stream.iterator(shard_id, after=after, start=start)

    def read(self, iterator: str, limit: int) -> RecordBatch:
        # The worker reads each shard in its own thread.
        passed = time.monotonic() - getattr(self._threads, "read_at", 0.0)
        self._sleep(max(0.0, self._pause - passed))
        self._threads.read_at = time.monotonic()
        return self._stream.read(iterator, limit)


def begin_replay(
    stream: Stream, store: Store, now: int, sleep: Callable[[float], object] = time.sleep, *, copied: int = 0
) -> Replay:
    """Note, before anything is read, which arrivals a generation will hold completely. Idempotent.

    Args:
        stream: what is replayed.
        store: of the generation.
        now: epoch ms.
        sleep: waits between reads.
        copied: when counts of another stream were copied here (epoch ms, 0: never): what arrived before is incomplete.

    Raises:
        LiveInsightError: the rebuild cannot continue.
    """
    document = store.load_document(REPLAY)
    known = load_replay(store) if document.version else None
    incarnation, shards = stream.incarnation(), stream.shards()
    if known and known.incarnation != incarnation:
        raise LiveInsightError("the stream was re-created since this rebuild began: drop its generation first")
    if known and paused_too_long(store.read_watermarks().rows, now):
        raise LiveInsightError(
            "this rebuild has paused for more than a day, and the stream may have dropped records that it has not "
            "counted: drop its generation and start again"
        )
    begun = {shard for shard, point in store.load_checkpoints().items() if point.incarnation == incarnation}
    unread = [shard for shard in roots(shards) if shard not in begun]
    if known and not unread:
        return known
    since = _held_since(stream, unread, incarnation, now, sleep)
    if known and known.since is not None:
        since = max(known.since, since or 0)
    if copied:
        since = max(since or 0, copied)
    replay = Replay(incarnation, since, known.began if known else now)
    if not store.save_document(REPLAY, Document(document.version + 1, msgspec.json.encode(replay).decode())):
        raise LiveInsightError("another command has just started this rebuild")
    return replay


def load_replay(store: Store) -> Replay:
    """What a generation has replayed.

    Raises:
        LiveInsightError: the generation was not made by a rebuild.
    """
    document = store.load_document(REPLAY)
    if not document.version:
        raise LiveInsightError("nothing is replayed into this generation yet: run `liveinsight rebuild start`")
    return msgspec.json.decode(document.text, type=Replay)


def _held_since(
    stream: Stream, unread: Iterable[str], incarnation: int, now: int, sleep: Callable[[float], object]
) -> int | None:
    surely_kept = now - LEAST_RETENTION
    if incarnation >= surely_kept:
        return None
    first = [_first_arrival(stream, shard, sleep) or surely_kept for shard in unread]
    return max((min(arrival, surely_kept) for arrival in first), default=surely_kept)


def _first_arrival(stream: Stream, shard_id: str, sleep: Callable[[float], object]) -> int | None:
    iterator: str | None = stream.iterator(shard_id, after=None, start=StartAt.TRIM_HORIZON)
    while iterator:
        batch = stream.read(iterator, 1)
        if batch.records:
            return batch.records[0].arrived_at
        iterator = batch.next_iterator if batch.millis_behind else None
        sleep(READ_PAUSE)
    return None


def counted_until(shards: Iterable[Shard], watermarks: Iterable[Watermark], incarnation: int) -> int | None:
    """The arrival time up to which everything is counted; None while a shard is unread."""
    marks = {mark.shard_id: mark for mark in watermarks if mark.incarnation == incarnation}
    as_of = []
    for shard in shards:
        mark = marks.get(shard.shard_id)
        if mark is None:
            return None
        if not mark.closed:
            as_of.append(mark.as_of)
    return min(as_of, default=None)


def paused_too_long(watermarks: Iterable[Watermark], now: int) -> bool:
    """Whether the stream may have dropped records that are not counted yet."""
    marks = list(watermarks)
    newest = max((mark.incarnation for mark in marks), default=0)
    current = [mark for mark in marks if mark.incarnation == newest and not mark.closed]
    return any(mark.as_of < now - LEAST_RETENTION for mark in current)
