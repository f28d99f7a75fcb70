"""The pointer: which generations of counters are active, from which day on, and which were active before.

It is a document in the store of the first generation. Promises: it changes as a whole, by compare-and-set; every switch
can be rolled back, the latest first.
"""

from __future__ import annotations

import msgspec

from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.storage.store import Document, DocumentStore

FIRST = 1
"""The generation before any rebuild. Its tables also hold the pointer and the salts of ingest."""
POINTER = "pointer"


class Active(msgspec.Struct, frozen=True):
    """A generation, and its cutover day: the site-local day (yyyymmdd, 0: all days) from which it is read."""

    generation: int
    cutover_day: int = msgspec.field(name="from_day")


ONLY_FIRST = (Active(FIRST, 0),)


class Pointer(msgspec.Struct, frozen=True):
    """The active generations by cutover day, and the former ones; both with the latest last."""

    active: tuple[Active, ...] = ONLY_FIRST
    history: tuple[tuple[Active, ...], ...] = ()
    changed_at: int = 0
    """Epoch ms. It tells two pointers of the same content apart."""
    copy_unfinished: bool = False
    """Whether `liveinsight copy` is filling the generations: nothing may count or read them yet."""

    @property
    def newest(self) -> int:
        """The generation that the worker writes."""
        return self.active[-1].generation

    @property
    def generations(self) -> set[int]:
        """All active generations."""
        return {active.generation for active in self.active}


def switched(pointer: Pointer, generation: int, cutover_day: int, now: int) -> Pointer:
    """The pointer after a switch to `generation` from `cutover_day` on."""
    kept = tuple(active for active in pointer.active if active.cutover_day < cutover_day)
    return Pointer((*kept, Active(generation, cutover_day)), (*pointer.history, pointer.active), now)


def switched_back(pointer: Pointer, now: int) -> Pointer:
    """The pointer as it was before the last switch.

    Raises:
        LiveInsightError: there was no switch.
    """
    if not pointer.history:
        raise LiveInsightError("there is nothing to roll back: generation 1 has been active since the beginning")
    return Pointer(pointer.history[-1], pointer.history[:-1], now)


def forgotten(pointer: Pointer, generation: int, now: int) -> Pointer:
    """The pointer without any history that needs `generation`."""
    kept = tuple(past for past in pointer.history if all(active.generation != generation for active in past))
    return Pointer(pointer.active, kept, now)


def load_pointer(store: DocumentStore) -> Pointer:
    """The pointer, from the store of the first generation."""
    return load_versioned_pointer(store)[0]


def load_versioned_pointer(store: DocumentStore) -> tuple[Pointer, int]:
    """The pointer, and its version for `save_pointer`.

    Raises:
        LiveInsightError: a newer release has written it.
        StoreUnavailable: the generations are being copied.
    """
    pointer, version = load_any_pointer(store)
    if pointer.copy_unfinished:
        raise StoreUnavailable("a copy into this store is not finished: wait for `liveinsight copy`, or start it again")
    return pointer, version


def load_any_pointer(store: DocumentStore) -> tuple[Pointer, int]:
    """As `load_versioned_pointer`, also during a copy."""
    document = store.load_document(POINTER)
    try:
        return (msgspec.json.decode(document.text, type=Pointer) if document.version else Pointer()), document.version
    except msgspec.DecodeError as error:
        raise LiveInsightError(f"the pointer to the active generations cannot be read: {error}") from error


def save_pointer(store: DocumentStore, pointer: Pointer, version: int) -> None:
    """Replace the pointer that had `version` when it was loaded.

    Raises:
        LiveInsightError: another command has replaced it since; nothing is changed.
    """
    if not store.save_document(POINTER, Document(version + 1, msgspec.json.encode(pointer).decode())):
        raise LiveInsightError(
            "another command has just changed the active generations, so nothing was changed: look at "
            "`liveinsight rebuild status`, then try again"
        )
