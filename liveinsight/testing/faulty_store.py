"""A store that fails as stores do, for tests of whatever writes to one.

It stands in front of any `Store`. Calls are cut short, throttled, done without an answer, done twice, or done late;
between any two of them the process may die (`Crash`) and others may go on (`meanwhile`). Every fault is a throw of
the dice it was given, so a seed repeats a run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.previews import CounterPreview, VisitorPreview
from liveinsight.counting.sessions import VisitorState, decode_visitor, encode_visitor
from liveinsight.model.errors import StoreUnavailable
from liveinsight.storage.store import (
    Checkpoint,
    CounterWrite,
    DeadLetter,
    Store,
    TimelineChunk,
    VisitorKey,
    VisitorWrite,
    Watermark,
    Written,
)

Write = TypeVar("Write")
Answer = TypeVar("Answer")


class Crash(BaseException):
    """The process is gone, right here: no handler of errors may see it."""


@dataclass(frozen=True)
class Faults:
    """How likely each fault is, per call."""

    crash: float = 0.02
    """The process dies with any part of the call done: nothing, some of it, or all."""
    cut: float = 0.03
    """`StoreUnavailable` with any part of the call done."""
    late: float = 0.02
    """`StoreUnavailable`, but the request is carried out some time later."""
    repeated: float = 0.03
    """The answer is lost and the client sends the request again: what comes back is the second verdict."""
    unconfirmed: float = 0.04
    """Some writes of the call get no verdict, whether or not they were done."""
    unread: float = 0.03
    """A read is throttled."""


ONLY_CRASHES = Faults(cut=0, late=0, repeated=0, unconfirmed=0, unread=0)
"""For a store that has faults of its own."""


class FaultyStore:
    """A `ProcessorStore` and `CheckpointStore` in front of `store`."""

    def __init__(self, store: Store, rng: random.Random, faults: Faults) -> None:
        self._store = store
        self._rng = rng
        self._faults = faults
        self._under_way: list[Callable[[], object]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        """What others do just before and just after each call."""

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        return self._read(lambda: self._store.load_counters(shard, keys))

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        return self._read(lambda: self._store.load_visitors(keys))

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        return self._read(self._store.load_checkpoints)

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        return self._write(writes, lambda part: self._store.write_counters(shard, part), some=True)

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        return self._write(writes, self._store.write_visitors, some=True)

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        sent = [chunk._replace(events=tuple(chunk.events)) for chunk in chunks]
        self._write(sent, _unconditional(self._store.write_timeline))

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        self._write(tuple(records), _unconditional(self._store.write_dead_letters))

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        sent = [one._replace(states=[decode_visitor(encode_visitor(s)) for s in one.states]) for one in visitors]
        both: list[CounterPreview | VisitorPreview] = [*counters, *sent]

        def send(part: Sequence[CounterPreview | VisitorPreview]) -> None:
            of_counters = [one for one in part if isinstance(one, CounterPreview)]
            self._store.write_previews(shard, of_counters, [one for one in part if isinstance(one, VisitorPreview)])

        self._write(both, _unconditional(send))

    def write_watermark(self, watermark: Watermark) -> None:
        self._write([watermark], _one_by_one(self._store.write_watermark))

    def write_checkpoint(self, shard_id: str, checkpoint: Checkpoint) -> None:
        self._write([checkpoint], _one_by_one(lambda point: self._store.write_checkpoint(shard_id, point)))

    def _read(self, call: Callable[[], Answer]) -> Answer:
        self._pause()
        dice = self._rng.random()
        if dice < self._faults.crash:
            raise Crash
        if dice < self._faults.crash + self._faults.unread:
            raise StoreUnavailable("throttled")
        answer = call()
        self._pause()
        return answer

    def _write(
        self, writes: Sequence[Write], send: Callable[[Sequence[Write]], Written], *, some: bool = False
    ) -> Written:
        """Send `writes` with at most one fault; `some` says that each of them has a verdict of its own."""
        self._pause()
        written = self._write_once(writes, send, some)
        self._pause()
        return written

    def _write_once(self, writes: Sequence[Write], send: Callable[[Sequence[Write]], Written], some: bool) -> Written:
        faults, dice = self._faults, self._rng.random()
        if dice < faults.crash + faults.cut:
            send(writes[: self._rng.choice([0, len(writes), self._rng.randint(0, len(writes))])])
            raise Crash if dice < faults.crash else StoreUnavailable("cut")
        dice -= faults.crash + faults.cut
        if dice < faults.late:
            self._under_way.append(lambda: send(writes))
            raise StoreUnavailable("no answer")
        dice -= faults.late
        if dice < faults.repeated:
            send(writes)
        elif some and writes and dice < faults.repeated + faults.unconfirmed:
            return self._send_some(writes, send)
        return send(writes)

    def _send_some(self, writes: Sequence[Write], send: Callable[[Sequence[Write]], Written]) -> Written:
        lost = set(self._rng.sample(range(len(writes)), self._rng.randint(1, len(writes))))
        sent = [index for index in range(len(writes)) if index not in lost or self._rng.random() < 0.5]
        verdict = send([writes[index] for index in sent])
        refused = [sent[position] for position in verdict.refused]
        return Written([index for index in refused if index not in lost], sorted(lost))

    def _pause(self) -> None:
        if self._under_way and self._rng.random() < 0.1:
            self._under_way.pop(self._rng.randrange(len(self._under_way)))()
        self.meanwhile()


def _unconditional(write: Callable[[Sequence[Write]], None]) -> Callable[[Sequence[Write]], Written]:
    """What has no condition is never refused."""

    def send(writes: Sequence[Write]) -> Written:
        write(writes)
        return Written()

    return send


def _one_by_one(write: Callable[[Write], None]) -> Callable[[Sequence[Write]], Written]:
    """A call that takes a single thing, for the same."""

    def send(writes: Sequence[Write]) -> Written:
        for one in writes:
            write(one)
        return Written()

    return send
