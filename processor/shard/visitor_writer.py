"""Loads, caches and writes the visitors and timelines of one shard. They are written only after all counters.

The latest events of a visitor's sessions are kept in its state (`VisitorState.tail`), so that most visits cost no write
for their timeline. They become chunks of their own when the state would grow over a write unit, and once at the
beginning of a session whose id does not name its visitor: the timeline is then found by the chunk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
from processor.shard.options import ProcessorOptions

DAY_SECONDS = 86_400
STATE_BYTES = 880
"""Larger than this, a state's tail becomes chunks: DynamoDB bills by the KB, keys and mark included."""


class _Unwritten(NamedTuple):
    """An encoded state that is not written yet, and the fields that the write needs."""

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

    A state is written if its mark is above the stored one. If it is not, another worker has come further with the
    same records: this state is dropped, and read again when needed.
    """

    def __init__(self, store: ProcessorStore, options: ProcessorOptions) -> None:
        self._store = store
        self._options = options
        self._session_seconds = options.session_days * DAY_SECONDS
        self._timeline_seconds = options.timeline_days * DAY_SECONDS
        # Only the states loaded last are objects; the dirty ones differ from the stored ones. All others are encoded
        # while they are still in the CPU's cache: the unwritten ones, and those that equal the stored ones.
        self._states: dict[VisitorKey, VisitorState] = {}
        self._dirty: set[VisitorKey] = set()
        self._unwritten: dict[VisitorKey, _Unwritten] = {}
        self._stored: dict[VisitorKey, bytes] = {}
        self._never_stored: set[VisitorKey] = set()
        # Visitors with a session whose id does not name them, until that session has a chunk.
        self._needs_chunk: set[VisitorKey] = set()
        self._touched_since_preview: set[VisitorKey] = set()
        self._in_last_preview: dict[str, list[VisitorKey]] = {}
        self.written = 0
        """States written so far."""

    def load(self, keys: Iterable[VisitorKey]) -> None:
        """Make the states of `keys`, and no others, objects. A visitor that was never stored starts empty."""
        self._pack()
        states = self._states
        missing = []
        for key in set(keys):
            if unwritten := self._unwritten.pop(key, None):
                states[key] = unwritten.unpack()
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
                self._never_stored.add(key)

    def state(self, key: VisitorKey) -> VisitorState:
        """A loaded state, to be changed in place by the fold."""
        return self._states[key]

    def touched(self, key: VisitorKey, folded: Folded, mark: str, event: Event) -> None:
        """Note that the event at `mark` changed the state of `key`."""
        self._dirty.add(key)
        if folded.session_id:
            self._states[key].tail.append(pack_waiting(folded.session_id, mark, event))
            if folded.begins and visitor_of(event.site, folded.session_id) != event.visitor:
                self._needs_chunk.add(key)

    def flush(self) -> None:
        """Try once to write timelines, then states, some at a time.

        Raises:
            StoreUnavailable: some states stay unwritten.
        """
        self._pack()
        keys, size = list(self._unwritten), self._options.visitor_slice
        lost = sum(self._write(keys[at : at + size]) for at in range(0, len(keys), size))
        self._evict()
        self._touched_since_preview.clear()
        self._in_last_preview.clear()
        if lost:
            raise StoreUnavailable(f"{lost} visitors were not confirmed")

    def previews(self, expires_at: int, sites: Collection[str] | None) -> list[VisitorPreview]:
        """The most recently active unwritten visitors of each of `sites` (None: of all) with one touched since the last
        `previewed`."""
        self._pack()
        candidates: dict[str, set[VisitorKey]] = {}
        for key in self._touched_since_preview:
            if sites is not None and key[0] not in sites:
                continue
            candidates.setdefault(key[0], set(self._in_last_preview.get(key[0], ()))).add(key)
        unwritten, size = self._unwritten, self._options.previewed_visitors
        previews = []
        for site, keys in candidates.items():
            shown = nlargest(size, keys, key=lambda key: (unwritten[key].seen_at, unwritten[key].mark))
            self._in_last_preview[site] = shown
            mark = max(unwritten[key].mark for key in keys)
            states = [unwritten[key].unpack() for key in shown]
            whole = len(shown) == sum(key[0] == site for key in unwritten)
            previews.append(VisitorPreview(site, mark, states, whole, expires_at))
        return previews

    def previewed(self, sites: Collection[str] | None) -> None:
        """The previews of `sites` that were returned last are stored."""
        left = () if sites is None else [key for key in self._touched_since_preview if key[0] not in sites]
        self._touched_since_preview = set(left)

    def _write(self, keys: Sequence[VisitorKey]) -> int:
        """Write states; returns how many were not confirmed and stay unwritten."""
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
            del self._unwritten[write.key]
            self._needs_chunk.discard(write.key)
            if index not in refused:
                self._stored[write.key] = write.data
        self._never_stored.difference_update(keys)
        self.written += len(writes) - len(refused) - len(unconfirmed)
        return len(unconfirmed)

    def _write_of(self, key: VisitorKey) -> VisitorWrite:
        """The write of an encoded state."""
        packed = self._unwritten[key]
        data = packed.data if packed.compressed else compress(packed.data)
        expires_at = self._expiry(packed.received_at, has_tail=packed.has_tail)
        return VisitorWrite(key, packed.mark, data, expires_at, key in self._never_stored)

    def _encode(self, key: VisitorKey, state: VisitorState) -> None:
        compressed = len(self._unwritten) >= self._options.uncompressed_visitors
        data = encode_visitor(state) if compressed else pack_visitor(state)
        self._unwritten[key] = _Unwritten(
            data, compressed, state.mark, state.seen_at, state.received_at, bool(state.tail)
        )

    def _must_spill(self, write: VisitorWrite) -> bool:
        """Whether the tail of a state must become chunks."""
        has_tail = self._unwritten[write.key].has_tail
        return has_tail and (write.key in self._needs_chunk or len(write.data) > STATE_BYTES)

    def _spill(self, keys: Iterable[VisitorKey]) -> None:
        """Write the tails of encoded states as chunks."""
        states = {key: self._unwritten[key].unpack() for key in keys}
        self._store.write_timeline([chunk for state in states.values() for chunk in self._chunks(state)])
        for key, state in states.items():
            open_ids = {session.id for session in state.sessions}
            tail = unpack_waiting(state.tail)
            listed = {*state.listed, *(session_id for session_id, _, _ in tail)}
            _, state.spilled, _ = tail[-1]
            state.tail = []
            state.listed = sorted(listed & open_ids)
            self._encode(key, state)

    def _chunks(self, state: VisitorState) -> Iterable[TimelineChunk]:
        """The tail, one chunk a session.

        A visitor's chunks are cut at its own marks. So a replay never makes a chunk with the same ends and fewer
        events, even where two visitors share a session id.
        """
        sessions: dict[str, list[Marked]] = {}
        for session_id, mark, event in unpack_waiting(state.tail):
            sessions.setdefault(session_id, []).append((mark, event))
        expires_at = state.received_at // 1000 + self._timeline_seconds
        return [TimelineChunk(state.site, id_, events, expires_at, state.visitor) for id_, events in sessions.items()]

    def _expiry(self, received_at: int, *, has_tail: bool) -> int:
        seconds = max(self._session_seconds, self._timeline_seconds) if has_tail else self._session_seconds
        return received_at // 1000 + seconds

    def _pack(self) -> None:
        """Encode all states that are objects."""
        for key, state in self._states.items():
            if key in self._dirty:
                self._encode(key, state)
            else:
                self._stored[key] = encode_visitor(state)
        self._states.clear()
        self._touched_since_preview |= self._dirty
        self._dirty.clear()

    def _evict(self) -> None:
        """Evict the least recently used written states."""
        for key in list(islice(self._stored, max(0, len(self._stored) - self._options.cached_visitors))):
            del self._stored[key]
            self._never_stored.discard(key)
