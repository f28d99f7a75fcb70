"""The health of each shard, from facts of one moment and the movements seen before.

Only a **stalled** shard is unhealthy: a record has waited for the limit (2 minutes), nothing was flushed for as long,
and neither checkpoint nor watermark moves between two looks.

    no backlog, watermark moves             up to date
    no backlog, watermark does not move     quiet: an idle stream, read by Lambda or by no worker; healthy
    backlog, flushed within the limit       working
    backlog, older, but something moves     catching up
    backlog, nothing moves                  stalled
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from processor.status.facts import Facts, ShardFacts

LIMIT_SECONDS = 120.0
"""How long records may wait without a flush."""


class State(Enum):
    """The state of a shard."""

    UP_TO_DATE = "up to date"
    QUIET = "quiet"
    WORKING = "working"
    CATCHING_UP = "catching up"
    WAITS_FOR_PARENT = "waits for parent"
    DONE = "done"
    STALLED = "stalled"


@dataclass(frozen=True)
class ShardStatus:
    """The facts of a shard and what follows from them."""

    facts: ShardFacts
    state: State
    lag_ms: int
    """Age of the oldest record that is not counted, by arrival time; 0 without a backlog."""
    last_flush: int | None
    """Time of the last known flush, epoch ms: when the watermark was seen to move, or at least its value."""
    renewed: int | None
    """Time at which the lease was last seen to be renewed, epoch ms."""


@dataclass(frozen=True)
class StreamStatus:
    """The status of all shards."""

    at: int
    shards: tuple[ShardStatus, ...]
    lost: tuple[str, ...]
    dead_letters: int
    watched_ms: int
    """How long the stream has been watched: a position that was not seen to move has been still for so long."""

    @property
    def stalled(self) -> list[str]:
        """Ids of the stalled shards."""
        return [shard.facts.shard_id for shard in self.shards if shard.state is State.STALLED]

    @property
    def healthy(self) -> bool:
        """Whether no shard is stalled."""
        return not self.stalled


@dataclass
class History:
    """Movements seen over several looks: flushes and renewals of leases have no stored time."""

    began: int | None = None
    _position: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    _counter: dict[str, tuple[str, int]] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    """By shard, the time at which its checkpoint or watermark was last seen to move."""
    renewed: dict[str, int] = field(default_factory=dict)

    def note(self, facts: Facts) -> None:
        """Note the facts of another look."""
        self.began = facts.at if self.began is None else self.began
        for shard in facts.shards:
            position = (shard.checkpoint, shard.flushed_up_to)
            if self._position.get(shard.shard_id, position) != position:
                self.moved[shard.shard_id] = facts.at
            self._position[shard.shard_id] = position
            if shard.lease:
                lease = (shard.lease.owner, shard.lease.counter)
                if self._counter.get(shard.shard_id, lease) != lease:
                    self.renewed[shard.shard_id] = facts.at
                self._counter[shard.shard_id] = lease


def judge(facts: Facts, history: History, limit_ms: int) -> StreamStatus:
    """The status by these facts. `history` must have noted them."""
    open_ids = {shard.shard_id for shard in facts.shards if not shard.ended}
    shards = []
    for shard in facts.shards:
        moved = history.moved.get(shard.shard_id)
        last_flush = _latest(moved, shard.flushed_up_to)
        # A worker that catches up has an old watermark; what matters is whether it moves.
        seen_at = last_flush if shard.backlog_since is None else moved
        is_active = seen_at is not None and facts.at - seen_at <= limit_ms
        lag_ms = _lag(shard, facts.at)
        if not shard.begun and open_ids.intersection(shard.parents) and not shard.ended:
            state = State.WAITS_FOR_PARENT
        else:
            state = _state(shard, lag_ms, limit_ms, is_active=is_active)
        shards.append(ShardStatus(shard, state, lag_ms, last_flush, history.renewed.get(shard.shard_id)))
    watched_ms = facts.at - (facts.at if history.began is None else history.began)
    return StreamStatus(facts.at, tuple(shards), facts.lost, facts.dead_letters, watched_ms)


def _state(shard: ShardFacts, lag_ms: int, limit_ms: int, *, is_active: bool) -> State:
    """The state of a shard whose parents are done; `is_active` says whether it was flushed within the limit."""
    if shard.ended:
        return State.DONE
    if shard.backlog_since is None:
        return State.UP_TO_DATE if is_active else State.QUIET
    if lag_ms <= limit_ms:
        return State.WORKING
    return State.CATCHING_UP if is_active else State.STALLED


def _lag(shard: ShardFacts, now: int) -> int:
    if shard.backlog_since is None or shard.ended:
        return 0
    return max(0, now - max(shard.backlog_since, shard.flushed_up_to or 0))


def _latest(*times: int | None) -> int | None:
    return max((time for time in times if time is not None), default=None)
