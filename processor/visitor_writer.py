"""Visitors and timelines of one shard on their way to the store. Written only after all counters are.

The latest events of a visitor's sessions wait in its state (`VisitorState.tail`), so that most visits cost no write for
their timeline. They become chunks of their own when the state would grow over a write unit, and once at the beginning
of a session whose id does not tell its visitor: by the chunk its timeline is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import islice

from liveinsight.errors import StoreUnavailable
from liveinsight.events import Event
from liveinsight.ids import visitor_of
from liveinsight.previews import VisitorPreview
from liveinsight.sessions import VisitorState, decode_visitor, encode_visitor, new_visitor
from liveinsight.store import ProcessorStore, TimelineChunk, VisitorKey, VisitorWrite
from liveinsight.timeline import Marked, pack_waiting, unpack_waiting

CACHED_VISITORS = 50_000
"""Visitors kept in memory per shard; only those that are written may leave."""
PREVIEWED_VISITORS = 100
"""Visitors in a preview, per shard and site: a few kilobytes, and more than a screen shows."""
UNPACKED_VISITORS = 2_000
"""Visitors that are objects at the same time, beside those of one batch."""
SLICE = 1_000
"""Visitors written in one step."""
DAY_SECONDS = 86_400
STATE_BYTES = 880
"""Larger than this, a state's tail becomes chunks: DynamoDB bills by the KB, keys and mark included."""


class VisitorWriter:
    """Loads, caches and writes visitor states, and the events of their sessions.

    A state is written if its mark is above the stored one. If not, somebody else has come further with the
    same records: ours is forgotten and read again when needed.
    """

    def __init__(self, store: ProcessorStore, *, session_days: int, timeline_days: int) -> None:
        self._store = store
        self._session_seconds = session_days * DAY_SECONDS
        self._timeline_seconds = timeline_days * DAY_SECONDS
        self._states: dict[VisitorKey, VisitorState] = {}
        # Only those in use are objects: the others are packed, in a sixth of the memory.
        self._packed: dict[VisitorKey, bytes] = {}
        self._dirty: set[VisitorKey] = set()
        self._unseen: set[VisitorKey] = set()
        # With an event of a session by whose id it could not be found, until that session has a chunk.
        self._unlisted: set[VisitorKey] = set()
        # Touched since the last preview.
        self._stirred: set[VisitorKey] = set()
        # In the last preview, by site.
        self._shown: dict[str, list[VisitorKey]] = {}
        self.written = 0
        """States written so far."""

    def load(self, keys: Iterable[VisitorKey]) -> None:
        """Bring the states of `keys` into memory; a visitor never seen starts empty."""
        if len(self._states) > UNPACKED_VISITORS:
            self._pack()
        missing = []
        for key in {key for key in keys if key not in self._states}:
            packed = self._packed.pop(key, None)
            if packed is None:
                missing.append(key)
            else:
                self._states[key] = decode_visitor(packed)
        if not missing:
            return
        stored = self._store.load_visitors(missing)
        for key in missing:
            if key in stored:
                self._states[key] = stored[key]
            else:
                self._states[key] = new_visitor(*key)
                self._unseen.add(key)

    def state(self, key: VisitorKey) -> VisitorState:
        """A loaded state, to be changed in place by the fold."""
        return self._states[key]

    def touched(self, key: VisitorKey, session_id: str, mark: str, event: Event) -> None:
        """Note that the event at `mark` changed the state of `key`."""
        self._dirty.add(key)
        self._stirred.add(key)
        if not session_id:
            return
        state = self._states[key]
        state.tail.append(pack_waiting(session_id, mark, event))
        if visitor_of(event.site, session_id) != event.visitor and session_id not in state.listed:
            self._unlisted.add(key)

    def flush(self) -> None:
        """Try once to write timelines, then states: some at a time, as they are unpacked for it.

        Raises:
            StoreUnavailable: what was not written stays dirty.
        """
        waiting = list(self._dirty)
        lost = sum(self._write(waiting[at : at + SLICE]) for at in range(0, len(waiting), SLICE))
        self._pack()
        self._evict()
        self._stirred.clear()
        self._shown.clear()
        if lost:
            raise StoreUnavailable(f"{lost} visitors were not confirmed")

    def previews(self, expires_at: int) -> list[VisitorPreview]:
        """The visitors that wait to be written, of each site with one that was touched since `previewed` was last
        called: those that were active last."""
        candidates: dict[str, set[VisitorKey]] = {}
        for key in self._stirred:
            candidates.setdefault(key[0], set(self._shown.get(key[0], ()))).add(key)
        waiting = Counter(site for site, _ in self._dirty if site in candidates)
        previews = []
        for site, keys in candidates.items():
            states = [self._look_at(key) for key in keys]
            shown = nlargest(PREVIEWED_VISITORS, states, key=lambda state: (state.seen_at, state.mark))
            self._shown[site] = [(site, state.visitor) for state in shown]
            mark = max(state.mark for state in states)
            previews.append(VisitorPreview(site, mark, shown, len(shown) == waiting[site], expires_at))
        return previews

    def previewed(self) -> None:
        """The previews that were given last are stored."""
        self._stirred.clear()
        self._pack()

    def _look_at(self, key: VisitorKey) -> VisitorState:
        return self._states.get(key) or decode_visitor(self._packed[key])

    def _write(self, keys: Sequence[VisitorKey]) -> int:
        """Write dirty states; returns how many were not confirmed, which stay dirty."""
        encoded = self._spill(keys)
        writes = [
            VisitorWrite(self._states[key], self._expiry(self._states[key]), key in self._unseen, encoded[key])
            for key in keys
        ]
        written = self._store.write_visitors(writes)
        for key in keys:
            self._packed[key] = encoded[key]
            del self._states[key]
        for index in written.refused:
            del self._packed[keys[index]]
        self._dirty.difference_update(keys)
        self._dirty.update(keys[index] for index in written.unconfirmed)
        self._unseen.difference_update(keys)
        self.written += len(writes) - len(written.refused) - len(written.unconfirmed)
        return len(written.unconfirmed)

    def _spill(self, keys: Iterable[VisitorKey]) -> dict[VisitorKey, bytes]:
        """Write the tails that may not wait, and encode the states of `keys`, which are objects now."""
        encoded: dict[VisitorKey, bytes] = {}
        spilling: list[VisitorKey] = []
        for key in keys:
            packed = self._packed.pop(key, None)
            if packed is None:
                state = self._states[key]
                packed = encode_visitor(state)
            else:
                state = self._states[key] = decode_visitor(packed)
            encoded[key] = packed
            if key in self._unlisted or (len(packed) > STATE_BYTES and state.tail):
                spilling.append(key)
        if spilling:
            self._store.write_timeline([chunk for key in spilling for chunk in self._chunks(self._states[key])])
        for key in spilling:
            state = self._states[key]
            open_ids = {session.id for session in state.sessions}
            waiting = unpack_waiting(state.tail)
            listed = {*state.listed, *(session_id for session_id, _, _ in waiting)}
            state.spilled, state.tail = waiting[-1][1], []
            state.listed = sorted(listed & open_ids)
            encoded[key] = encode_visitor(state)
            self._unlisted.discard(key)
        return encoded

    def _chunks(self, state: VisitorState) -> Iterable[TimelineChunk]:
        """The tail, session by session. Chunks of a visitor are cut at its own marks, so a replay never gives one with
        the same ends and fewer events, not even where two visitors share a session id."""
        sessions: dict[str, list[Marked]] = {}
        for session_id, mark, event in unpack_waiting(state.tail):
            sessions.setdefault(session_id, []).append((mark, event))
        expires_at = self._timeline_expiry(state)
        return [TimelineChunk(state.site, id_, events, expires_at, state.visitor) for id_, events in sessions.items()]

    def _expiry(self, state: VisitorState) -> int:
        expires_at = state.received_at // 1000 + self._session_seconds
        return max(expires_at, self._timeline_expiry(state)) if state.tail else expires_at

    def _timeline_expiry(self, state: VisitorState) -> int:
        return state.received_at // 1000 + self._timeline_seconds

    def _pack(self) -> None:
        """Put away all states that are objects."""
        for key, state in self._states.items():
            self._packed[key] = encode_visitor(state)
        self._states.clear()

    def _evict(self) -> None:
        """Forget written states that were not used for longest."""
        clean = (key for key in self._packed if key not in self._dirty)
        for key in list(islice(clean, max(0, len(self._packed) - CACHED_VISITORS))):
            del self._packed[key]
            self._unseen.discard(key)
