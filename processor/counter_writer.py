"""Counters of one shard on their way to the store: pending contributions, and the compare-and-set flush."""

from __future__ import annotations

from liveinsight.counters import CounterItem, PendingContribution, apply_pending
from liveinsight.errors import StoreUnavailable
from liveinsight.fold import Contribution, CounterKey
from liveinsight.store import CounterWrite, ProcessorStore

CACHED_ITEMS = 50_000
"""Clean counter items kept in memory per shard, so that a hot one is read once."""
MINUTE_DAYS = 3
"""Days that live minutes are kept: beyond the window they answer for, and beyond any replay."""


class CounterWriter:
    """Gathers contributions and writes them.

    An item is written only if its stored mark is the one it was loaded with. After a failure the item is
    loaded again and only contributions beyond its mark are applied, so nothing is added twice or left out.
    """

    def __init__(self, store: ProcessorStore, shard: str) -> None:
        self._store = store
        self._shard = shard
        self._pending: dict[CounterKey, list[PendingContribution]] = {}
        self._clean: dict[CounterKey, CounterItem] = {}
        self.waiting = 0
        """Contributions not yet written."""
        self.written = 0
        """Items written so far."""

    def add(self, mark: str, contributions: list[Contribution]) -> None:
        """Take what the event at `mark` adds. Marks must come in rising order."""
        pending = self._pending
        for key, measures, hour, visitor in contributions:
            contribution = (mark, measures, hour, visitor)
            if key in pending:
                pending[key].append(contribution)
            else:
                pending[key] = [contribution]
        self.waiting += len(contributions)

    def flush(self) -> bool:
        """Try once to write everything pending; True when nothing is left.

        Raises:
            StoreUnavailable: what was not written stays pending.
        """
        if not self._pending:
            return True
        self._load([key for key in self._pending if key not in self._clean])
        writes: list[CounterWrite] = []
        for key, contributions in list(self._pending.items()):
            item = self._clean.pop(key, None) or CounterItem()
            expected = item.mark
            if apply_pending(item, contributions):
                writes.append(CounterWrite(key, expected, item, _expires_at(key)))
            else:
                self._done(key, item)
        # Items in `writes` are out of the clean cache until the store has confirmed them.
        written = self._store.write_counters(self._shard, writes)
        failed = {*written.refused, *written.unconfirmed}
        for index, write in enumerate(writes):
            if index not in failed:
                self._done(write.key, write.item)
        self.written += len(writes) - len(failed)
        self._evict()
        if written.unconfirmed:
            raise StoreUnavailable(f"{len(written.unconfirmed)} counter items were not confirmed")
        return not self._pending

    def _load(self, keys: list[CounterKey]) -> None:
        if keys:
            self._clean.update(self._store.load_counters(self._shard, keys))

    def _done(self, key: CounterKey, item: CounterItem) -> None:
        self.waiting -= len(self._pending.pop(key))
        self._clean[key] = item

    def _evict(self) -> None:
        for key in list(self._clean)[: max(0, len(self._clean) - CACHED_ITEMS)]:
            del self._clean[key]


def _expires_at(key: CounterKey) -> int:
    return key[2] * 60 + MINUTE_DAYS * 86_400 if key[0] == "minute" else 0
