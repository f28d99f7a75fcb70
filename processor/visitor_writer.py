"""Visitors and timelines of one shard on their way to the store. Written only after all counters are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from liveinsight.errors import StoreUnavailable
from liveinsight.events import Event
from liveinsight.sessions import VisitorState, decode_visitor, encode_visitor, new_visitor
from liveinsight.store import ProcessorStore, TimelineChunk, VisitorKey, VisitorWrite

CACHED_VISITORS = 50_000
"""Visitors kept in memory per shard; only those that are written may leave."""
DAY_SECONDS = 86_400


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
        # By visitor, too: chunks of one visitor are cut at its own marks, so a replay never gives one with the same
        # ends and fewer events, not even where two visitors share a session id.
        self._timeline: dict[tuple[str, int, str], list[tuple[str, Event]]] = {}
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
        if session_id:
            self._timeline.setdefault((*key, session_id), []).append((mark, event))

    def flush(self) -> None:
        """Try once to write timelines, then states.

        Raises:
            StoreUnavailable: what was not written stays dirty.
        """
        if self._timeline:
            self._store.write_timeline(
                [
                    TimelineChunk(site, session_id, events, self._timeline_expiry(events))
                    for (site, _, session_id), events in self._timeline.items()
                ]
            )
            self._timeline.clear()
        keys = list(self._dirty)
        writes = [
            VisitorWrite(self._states[key], self._session_expiry(self._states[key]), key in self._unseen)
            for key in keys
        ]
        if writes:
            written = self._store.write_visitors(writes)
            for index in written.refused:
                del self._states[keys[index]]
            self._dirty = {keys[index] for index in written.unconfirmed}
            self._unseen.difference_update(keys)
            self.written += len(writes) - len(written.refused) - len(written.unconfirmed)
            if written.unconfirmed:
                raise StoreUnavailable(f"{len(written.unconfirmed)} visitors were not confirmed")
        self._pack()

    def _session_expiry(self, state: VisitorState) -> int:
        return state.received_at // 1000 + self._session_seconds

    def _timeline_expiry(self, events: list[tuple[str, Event]]) -> int:
        return max(event.received_at for _, event in events) // 1000 + self._timeline_seconds

    def _pack(self) -> None:
        """Put away all states, which are written now, and forget those that were not used for longest."""
        self._packed.update((key, encode_visitor(state)) for key, state in self._states.items())
        self._states.clear()
        for key in list(islice(self._packed, max(0, len(self._packed) - CACHED_VISITORS))):
            del self._packed[key]
            self._unseen.discard(key)
