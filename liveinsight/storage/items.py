"""Stored items as a protocol: what a copy to another backend reads on one side and writes on the other.

In: nothing of a backend. Out: items as they are stored, bodies unopened, some at a time and in an order that stays.
Previews, watermarks and checkpoints are not among them: they belong to a stream. Dead letters and documents are moved
by the methods that every store has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from liveinsight.counting.keys import CounterKey

PAGE_ITEMS = 1_000
"""Items of a page, at most."""


class StoredCounter(NamedTuple):
    """A counter of one shard, with those embedded in it; `data` has no marks."""

    shard_id: str
    key: CounterKey
    mark: str
    data: bytes
    expires_at: int
    """Epoch seconds; 0 keeps the item for good."""


class StoredVisitor(NamedTuple):
    """The state of a visitor: `data` is `sessions.encode_visitor` of it."""

    site: str
    visitor: int
    mark: str
    data: bytes
    expires_at: int


class StoredChunk(NamedTuple):
    """Events of a timeline: `data` is `timeline.encode_timeline` of them, the marks are those of the first and last."""

    site: str
    session_id: str
    first_mark: str
    last_mark: str
    visitor: int
    data: bytes
    expires_at: int


StoredItem = StoredCounter | StoredVisitor | StoredChunk


class Salt(NamedTuple):
    """The salt of a UTC day (yyyymmdd)."""

    day: int
    salt: bytes
    expires_at: int


class Page(NamedTuple):
    """Some items, and the position behind them: text that only its backend understands."""

    items: list[StoredItem]
    position: str


class ItemStore(Protocol):
    """The items of one generation. All methods may raise `StoreUnavailable` and are safe to call again."""

    def page(self, after: str = "") -> Page | None:
        """The next items behind a position ("": the first), expired ones included; None if there are no more.

        A page may be empty although others follow. Strongly consistent.
        """

    def put_items(self, items: Sequence[StoredItem]) -> None:
        """Write items over what is stored."""

    def differing(self, items: Sequence[StoredItem]) -> list[StoredItem]:
        """Those of `items` that are not stored exactly so."""

    def salts(self, days: Sequence[int]) -> list[Salt]:
        """The salts that are stored for `days`."""
