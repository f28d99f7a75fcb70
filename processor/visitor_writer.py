"""Visitors and timelines of one shard on their way to the store. Written only after all counters are.

The latest events of a visitor's sessions wait in its state (`VisitorState.tail`), so that most visits cost no write for
their timeline. They become chunks of their own when the state would grow over a write unit, and once at the beginning
of a session whose id does not tell its visitor: by the chunk its timeline is found.
"""

from __future__ import annotations

from collections.abc import Iterable
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
        # Between flushes only those in use are objects: the others are packed, in a sixth of the memory.
        self._packed: dict[VisitorKey, bytes] = {}
        self._dirty: set[VisitorKey] = set()
        self._unseen: set[VisitorKey] = set()
        # With an event of a session by whose id it could not be found, until that session has a chunk.
        self._unlisted: set[VisitorKey] = set()
        # Touched since the last preview.
        self._stirred: set[VisitorKey] = set()
        self.written = 0
        """States written so far."""

    def load(self, keys: Iterable[VisitorKey]) -> None:
        """Bring the states of `keys` into memory; a visitor never seen starts empty."""
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
        """Try once to write timelines, then states.

        Raises:
            StoreUnavailable: what was not written stays dirty.
        """
        encoded = self._spill()
        keys = list(encoded)
        if keys:
            writes = [
                VisitorWrite(self._states[key], self._expiry(self._states[key]), key in self._unseen, encoded[key])
                for key in keys
            ]
            written = self._store.write_visitors(writes)
            for index in written.refused:
                del self._states[keys[index]], encoded[keys[index]]
            self._dirty = {keys[index] for index in written.unconfirmed}
            self._unseen.difference_update(keys)
            self.written += len(writes) - len(written.refused) - len(written.unconfirmed)
            if written.unconfirmed:
                raise StoreUnavailable(f"{len(written.unconfirmed)} visitors were not confirmed")
        self._pack(encoded)
        self._stirred.clear()

    def previews(self, expires_at: int) -> list[VisitorPreview]:
        """The visitors that wait to be written, of each site with one that was touched since `previewed` was last
        called: those that were active last."""
        waiting: dict[str, list[VisitorState]] = {site: [] for site, _ in self._stirred}
        for key in self._dirty:
            if key[0] in waiting:
                waiting[key[0]].append(self._states[key])
        previews = []
        for site, states in waiting.items():
            if not states:
                continue
            shown = nlargest(PREVIEWED_VISITORS, states, key=lambda state: (state.seen_at, state.mark))
            mark = max(state.mark for state in states)
            previews.append(VisitorPreview(site, mark, shown, len(shown) == len(states), expires_at))
        return previews

    def previewed(self) -> None:
        """The previews that were given last are stored."""
        self._stirred.clear()

    def _spill(self) -> dict[VisitorKey, bytes]:
        """Write the tails that may not wait, and encode all states that are to be written."""
        encoded: dict[VisitorKey, bytes] = {}
        spilling: list[VisitorKey] = []
        for key in self._dirty:
            state = self._states[key]
            if key not in self._unlisted:
                encoded[key] = data = encode_visitor(state)
                if len(data) <= STATE_BYTES or not state.tail:
                    continue
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

    def _pack(self, encoded: dict[VisitorKey, bytes]) -> None:
        """Put away all states, which are written now, and forget those that were not used for longest."""
        for key, state in self._states.items():
            self._packed[key] = encoded.get(key) or encode_visitor(state)
        self._states.clear()
        for key in list(islice(self._packed, max(0, len(self._packed) - CACHED_VISITORS))):
            del self._packed[key]
            self._unseen.discard(key)
