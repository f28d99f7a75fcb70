"""Items by kind: what there is to move.

In: items of any kind. Out: their number and size.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from liveinsight.storage.items import StoredChunk, StoredCounter, StoredItem, StoredVisitor
from liveinsight.storage.store import DeadLetter

Moved = StoredItem | DeadLetter
KINDS: dict[type[Moved], str] = {
    StoredCounter: "counters",
    StoredVisitor: "visitors",
    StoredChunk: "timelines",
    DeadLetter: "dead letters",
}


def kind_of(item: Moved) -> str:
    """The name of an item's kind."""
    return KINDS[type(item)]


@dataclass
class Tally:
    """Items and bytes of bodies, by kind."""

    items: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)

    def add(self, item: Moved) -> None:
        """Count an item."""
        self.items[kind_of(item)] += 1
        self.size[kind_of(item)] += len(item.data)


def alive(item: Moved, seconds: int) -> bool:
    """Whether an item does not expire before a time, epoch seconds."""
    return not item.expires_at or item.expires_at > seconds
