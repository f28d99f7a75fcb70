"""Counter items of one shard as the store has them, so that a hot one is read once.

Items that are written every second or so are kept as they are, and given up when a full flush finds them idle: the
minutes pass by. Breakdowns are many, hold sketches and are written once a minute: they are kept encoded, in a tenth of
the memory.
"""

from __future__ import annotations

from itertools import islice

from liveinsight.counting.counters import CounterItem, decode_counter, encode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.layout import Cadence, cadence_of
from liveinsight.model.marks import NO_MARK

CACHED_ITEMS = 50_000
"""Encoded items kept in memory per shard; those that were used last stay."""


class ItemCache:
    """What is stored under each key, where that is known."""

    def __init__(self) -> None:
        self._hot: dict[CounterKey, CounterItem] = {}
        self._idle: set[CounterKey] = set()
        self._encoded: dict[CounterKey, tuple[str, bytes]] = {}

    def __contains__(self, key: CounterKey) -> bool:
        return key in self._encoded or key in self._hot

    def __len__(self) -> int:
        return len(self._encoded) + len(self._hot)

    def take(self, key: CounterKey) -> CounterItem:
        """The item, to be changed: it is out of the cache until it is put back. One that is not stored is empty."""
        if stored := self._encoded.pop(key, None):
            mark, data = stored
            return decode_counter(data, mark) if data else CounterItem()
        return self._hot.pop(key, None) or CounterItem()

    def put(self, key: CounterKey, item: CounterItem, data: bytes = b"") -> None:
        """Note what is stored under `key`; `data` is the item encoded, where the caller has it."""
        if cadence_of(key) is Cadence.SLOW:
            self._encoded[key] = item.mark, data or encode_counter(item)
        else:
            self._hot[key] = item
            self._idle.discard(key)

    def mark_of(self, key: CounterKey) -> str:
        """The mark of a breakdown's item that is here, or that is then known not to be stored."""
        return self._encoded.setdefault(key, (NO_MARK, b""))[0]

    def forget(self) -> None:
        """Give up hot items that were not put since this was called last, and what is too much of the others."""
        for key in self._idle:
            self._hot.pop(key, None)
        self._idle = set(self._hot)
        for key in list(islice(self._encoded, max(0, len(self._encoded) - CACHED_ITEMS))):
            del self._encoded[key]
