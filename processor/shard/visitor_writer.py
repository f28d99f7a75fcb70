"""Visitors and timelines of one shard on their way to the store. Written only after all counters are.

The latest events of a visitor's sessions wait in its state (`VisitorState.tail`), so that most visits cost no write for
their timeline. They become chunks of their own when the state would grow over a write unit, and once at the beginning
of a session whose id does not tell its visitor: by the chunk its timeline is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import islice
from typing import NamedTuple

from liveinsight.counting.compression import compress
from liveinsight.counting.fold import Folded
from liveinsight.counting.previews import VisitorPreview
from liveinsight.counting.sessions import (
    VisitorState,
    decode_visitor,
    encode_visitor,
    new_visitor,
    pack_visitor,
    unpack_visitor,
)
from liveinsight.counting.timeline import Marked, pack_waiting, unpack_waiting
from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.events import Event
from liveinsight.model.ids import visitor_of
from liveinsight.storage.store import ProcessorStore, TimelineChunk, VisitorKey, VisitorWrite

CACHED_VISITORS = 50_000
"""Visitors kept in memory per shard; only those that are written may leave."""
PREVIEWED_VISITORS = 100
"""Visitors in a preview, per shard and site: a few kilobytes, and more than a screen shows."""
PLAIN_VISITORS = 4_000
"""Visitors that wait without being compressed: their next event may come before they are written."""
SLICE = 1_000
"""Visitors written in one step."""
DAY_SECONDS = 86_400
STATE_BYTES = 880
"""Larger than this, a state's tail becomes chunks: DynamoDB bills by the KB, keys and mark included."""


class _Packed(NamedTuple):
    """A state that waits to be written, and what has to be known of it for that."""

    data: bytes
    compressed: bool
    mark: str
    seen_at: int
    received_at: int
    has_tail: bool

    def unpack(self) -> VisitorState:
        return decode_visitor(self.data) if self.compressed else unpack_visitor(self.data)


class VisitorWriter:
    """Loads, caches and writes visitor states, and the events of their sessions.

    A state is written if its mark is above the stored one. If not, somebody else has come further with the
    same records: ours is forgotten and read again when needed.
    """

    def __init__(self, store: ProcessorStore, *, session_days: int, timeline_days: int) -> None:
        self._store = store
        self._session_seconds = session_days * DAY_SECONDS
        self._timeline_seconds = timeline_days * DAY_SECONDS
        # Only those that were loaded last are objects, and some of them differ from what is stored. The others are
        # packed while they are still in the processor's cache: what waits to be written, and what is as it is stored.
        self._states: dict[VisitorKey, VisitorState] = {}
        self._dirty: set[VisitorKey] = set()
        self._waiting: dict[VisitorKey, _Packed] = {}
        self._stored: dict[VisitorKey, bytes] = {}
        self._unseen: set[VisitorKey] = set()
        # With an event of a session by whose id it could not be found, until that session has a chunk.
        self._unlisted: set[VisitorKey] = set()
        # Waiting, and touched since the last preview.
        self._stirred: set[VisitorKey] = set()
        # In the last preview, by site.
        self._shown: dict[str, list[VisitorKey]] = {}
        self.written = 0
        """States written so far."""

    def load(self, keys: Iterable[VisitorKey]) -> None:
        """Make objects of the states of `keys`, and of no others; a visitor never seen starts empty."""
        self._pack()
        states = self._states
        missing = []
        for key in set(keys):
            if waiting := self._waiting.pop(key, None):
                states[key] = waiting.unpack()
                self._dirty.add(key)
            elif stored := self._stored.pop(key, None):
                states[key] = decode_visitor(stored)
            else:
                missing.append(key)
        if not missing:
            return
        found = self._store.load_visitors(missing)
        for key in missing:
            if key in found:
                states[key] = found[key]
            else:
                states[key] = new_visitor(*key)
                self._unseen.add(key)

    def state(self, key: VisitorKey) -> VisitorState:
        """A loaded state, to be changed in place by the fold."""
        return self._states[key]

    def touched(self, key: VisitorKey, folded: Folded, mark: str, event: Event) -> None:
        """Note that the event at `mark` changed the state of `key`."""
        self._dirty.add(key)
        if folded.session_id:
            self._states[key].tail.append(pack_waiting(folded.session_id, mark, event))
            if folded.begins and visitor_of(event.site, folded.session_id) != event.visitor:
                self._unlisted.add(key)

    def flush(self) -> None:
        """Try once to write timelines, then states, some at a time.

        Raises:
            StoreUnavailable: what was not written goes on waiting.
        """
        self._pack()
        waiting = list(self._waiting)
        lost = sum(self._write(waiting[at : at + SLICE]) for at in range(0, len(waiting), SLICE))
        self._evict()
        self._stirred.clear()
        self._shown.clear()
        if lost:
            raise StoreUnavailable(f"{lost} visitors were not confirmed")

    def previews(self, expires_at: int) -> list[VisitorPreview]:
        """The visitors that wait to be written, of each site with one that was touched since `previewed` was last
        called: those that were active last."""
        self._pack()
        candidates: dict[str, set[VisitorKey]] = {}
        for key in self._stirred:
            candidates.setdefault(key[0], set(self._shown.get(key[0], ()))).add(key)
        waiting = self._waiting
        previews = []
        for site, keys in candidates.items():
            shown = nlargest(PREVIEWED_VISITORS, keys, key=lambda key: (waiting[key].seen_at, waiting[key].mark))
            self._shown[site] = shown
            mark = max(waiting[key].mark for key in keys)
            states = [waiting[key].unpack() for key in shown]
            whole = len(shown) == sum(key[0] == site for key in waiting)
            previews.append(VisitorPreview(site, mark, states, whole, expires_at))
        return previews

    def previewed(self) -> None:
        """The previews that were given last are stored."""
        self._stirred.clear()

    def _write(self, keys: Sequence[VisitorKey]) -> int:
        """Write states; returns how many were not confirmed, which go on waiting."""
        writes = [self._write_of(key) for key in keys]
        spilling = [index for index, write in enumerate(writes) if self._must_spill(write)]
        if spilling:
            self._spill([keys[index] for index in spilling])
            for index in spilling:
                writes[index] = self._write_of(keys[index])
        written = self._store.write_visitors(writes)
        refused, unconfirmed = set(written.refused), set(written.unconfirmed)
        for index, write in enumerate(writes):
            if index in unconfirmed:
                continue
            del self._waiting[write.key]
            self._unlisted.discard(write.key)
            if index not in refused:
                self._stored[write.key] = write.data
        self._unseen.difference_update(keys)
        self.written += len(writes) - len(refused) - len(unconfirmed)
        return len(unconfirmed)

    def _write_of(self, key: VisitorKey) -> VisitorWrite:
        """A state that was put away, compressed as it will be stored."""
        packed = self._waiting[key]
        data = packed.data if packed.compressed else compress(packed.data)
        expires_at = self._expiry(packed.received_at, has_tail=packed.has_tail)
        return VisitorWrite(key, packed.mark, data, expires_at, key in self._unseen)

    def _put_away(self, key: VisitorKey, state: VisitorState) -> None:
        compressed = len(self._waiting) >= PLAIN_VISITORS
        data = encode_visitor(state) if compressed else pack_visitor(state)
        self._waiting[key] = _Packed(data, compressed, state.mark, state.seen_at, state.received_at, bool(state.tail))

    def _must_spill(self, write: VisitorWrite) -> bool:
        """Whether the tail of a state may not wait in it."""
        has_tail = self._waiting[write.key].has_tail
        return has_tail and (write.key in self._unlisted or len(write.data) > STATE_BYTES)

    def _spill(self, keys: Iterable[VisitorKey]) -> None:
        """Write the tails of states that are put away as chunks."""
        states = {key: self._waiting[key].unpack() for key in keys}
        self._store.write_timeline([chunk for state in states.values() for chunk in self._chunks(state)])
        for key, state in states.items():
            open_ids = {session.id for session in state.sessions}
            waiting = unpack_waiting(state.tail)
            listed = {*state.listed, *(session_id for session_id, _, _ in waiting)}
            state.spilled, state.tail = waiting[-1][1], []
            state.listed = sorted(listed & open_ids)
            self._put_away(key, state)

    def _chunks(self, state: VisitorState) -> Iterable[TimelineChunk]:
        """The tail, session by session. Chunks of a visitor are cut at its own marks, so a replay never gives one with
        the same ends and fewer events, not even where two visitors share a session id."""
        sessions: dict[str, list[Marked]] = {}
        for session_id, mark, event in unpack_waiting(state.tail):
            sessions.setdefault(session_id, []).append((mark, event))
        expires_at = state.received_at // 1000 + self._timeline_seconds
        return [TimelineChunk(state.site, id_, events, expires_at, state.visitor) for id_, events in sessions.items()]

    def _expiry(self, received_at: int, *, has_tail: bool) -> int:
        seconds = max(self._session_seconds, self._timeline_seconds) if has_tail else self._session_seconds
        return received_at // 1000 + seconds

    def _pack(self) -> None:
        """Put away all states that are objects."""
        for key, state in self._states.items():
            if key in self._dirty:
                self._put_away(key, state)
            else:
                self._stored[key] = encode_visitor(state)
        self._states.clear()
        self._stirred |= self._dirty
        self._dirty.clear()

    def _evict(self) -> None:
        """Forget written states that were not used for longest."""
        for key in list(islice(self._stored, max(0, len(self._stored) - CACHED_VISITORS))):
            del self._stored[key]
            self._unseen.discard(key)
