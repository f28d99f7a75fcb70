"""Whose copy a target holds, and how far it is: a document in the target's first generation.

In: a document store. Out: the state, changed by compare-and-set, so that of two copies at once one fails.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from liveinsight.model.errors import LiveInsightError
from liveinsight.storage.generation_pointer import Active
from liveinsight.storage.store import Document, DocumentStore

COPY = "copy"


class CopyState(msgspec.Struct, frozen=True, kw_only=True):
    """A copy: finished when `verified_at` is not 0."""

    source: int
    """Creation time of the source's stream, epoch ms."""
    place: str
    """Where the source is, for messages."""
    watched: dict[str, int] = {}
    """The target's watermarks before the copy, by shard: as long as they stay, nothing counts there."""
    prepared: bool = False
    """Whether the target has the sites."""
    reached: dict[str, str] = {}
    """How far the source was counted when the items were read, by shard."""
    active: tuple[Active, ...] = ()
    """The generations that are copied."""
    positions: dict[int, str] = {}
    """By generation, the position behind the last page that was written."""
    items: int = 0
    """Items that were read so far."""
    verified_at: int = 0
    """Epoch ms."""


class StateDocument:
    """The state of the copy in one target."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        document = store.load_document(COPY)
        self._version = document.version
        try:
            self.state = msgspec.json.decode(document.text, type=CopyState) if document.version else None
        except msgspec.DecodeError as error:
            raise LiveInsightError(f"another release has begun a copy into this store: {error}") from error

    def begin(self, state: CopyState) -> None:
        """Claim the target for a copy.

        Raises:
            LiveInsightError: another copy was faster.
        """
        saved = Document(self._version + 1, msgspec.json.encode(state).decode())
        if not self._store.save_document(COPY, saved):
            raise LiveInsightError("another `liveinsight copy` into the same store is running: let it finish")
        self._version, self.state = saved.version, state

    def change(self, **changes: object) -> CopyState:
        """Replace fields of the state.

        Raises:
            LiveInsightError: another copy is running.
        """
        assert self.state is not None
        changed = replace(self.state, **changes)
        if changed != self.state:
            self.begin(changed)
        return changed


def copied_at(store: DocumentStore) -> int:
    """When the copy into a store was verified (epoch ms), 0 without one: what arrived before may be counted there
    without having been on its stream."""
    state = StateDocument(store).state
    return state.verified_at if state else 0
