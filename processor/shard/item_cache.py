"""A cache of one shard's counter items as they are stored.

Items of the faster cadences are kept as objects and evicted when a full flush finds them idle. Breakdowns are many,
hold sketches and are written once a minute: they are kept encoded, in a tenth of the memory.
"""

from __future__ import annotations

from itertools import islice

from liveinsight.counting.counters import CounterItem, decode_counter, encode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.layout import Cadence, cadence_of
from liveinsight.model.marks import NO_MARK


class ItemCache:
    """The stored items that are known. At most `size` encoded ones are kept: the most recently used."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._hot: dict[CounterKey, CounterItem] = {}
        self._idle: set[CounterKey] = set()
        self._encoded: dict[CounterKey, tuple[str, bytes]] = {}

    def __contains__(self, key: CounterKey) -> bool:
        return key in self._encoded or key in self._hot

    def __len__(self) -> int:
        return len(self._encoded) + len(self._hot)

    def take(self, key: CounterKey) -> CounterItem:
        """Remove and return the item, to be changed and put back. An item that is not stored is empty."""
        if stored := self._encoded.pop(key, None):
            mark, data = stored
            return decode_counter(data, mark) if data else CounterItem()
        return self._hot.pop(key, None) or CounterItem()

    def put(self, key: CounterKey, item: CounterItem, data: bytes = b"") -> None:
        """Note the item stored under `key`; `data` is the encoded item, if the caller has it."""
        if cadence_of(key) is Cadence.SLOW:
            self._encoded[key] = item.mark, data or encode_counter(item)
        else:
            self._hot[key] = item
            self._idle.discard(key)

    def mark_of(self, key: CounterKey) -> str:
        """The mark of a breakdown's item. One that is not in the cache is noted as not stored."""
        return self._encoded.setdefault(key, (NO_MARK, b""))[0]

    def forget(self) -> None:
        """Evict objects that were not put since the last call, and encoded items beyond the size."""
        for key in self._idle:
            self._hot.pop(key, None)
        self._idle = set(self._hot)
        for key in list(islice(self._encoded, max(0, len(self._encoded) - self._size))):
            del self._encoded[key]
