"""Counters of one shard on their way to the store: pending contributions, and the compare-and-set flush."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from operator import itemgetter

from liveinsight.counters import (
    SKETCH_LG_K,
    TOTALS_LG_K,
    Batch,
    CounterItem,
    PendingContribution,
    apply_batches,
)
from liveinsight.errors import StoreUnavailable
from liveinsight.fold import Contribution, CounterKey, KeyGroup, Target, beside, home, is_fresh
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
        self._pending: dict[Target, list[PendingContribution]] = {}
        self._clean: dict[CounterKey, CounterItem] = {}
        self.waiting = 0
        """Contributions not yet written."""
        self.written = 0
        """Items written so far."""

    def add(self, mark: str, contributions: list[Contribution]) -> None:
        """Take what the event at `mark` adds. Marks must come in rising order."""
        pending = self._pending
        for target, measures, hour, visitor in contributions:
            contribution = (mark, measures, hour, visitor)
            if target in pending:
                pending[target].append(contribution)
            else:
                pending[target] = [contribution]
        self.waiting += len(contributions)

    def flush(self, *, everything: bool = True) -> bool:
        """Try once to write what is pending: all of it, or what is written first (see `fold.is_fresh`).

        Returns:
            Whether that is written.

        Raises:
            StoreUnavailable: what was not written stays pending.
        """
        later = {} if everything else {target: parts for target, parts in self._pending.items() if _waits(target)}
        batches = self._batches(later)
        if not batches:
            return True
        self._load([key for key in batches if key not in self._clean])
        writes: list[CounterWrite] = []
        for key, added in batches.items():
            item = self._clean.pop(key, None) or CounterItem()
            expected = item.mark
            if apply_batches(item, added, TOTALS_LG_K if key[0] == "totals" else SKETCH_LG_K):
                writes.append(CounterWrite(key, expected, item, _expires_at(key)))
            else:
                self._clean[key] = item
        # Items in `writes` are out of the clean cache until the store has confirmed them.
        written = self._store.write_counters(self._shard, writes)
        failed = {*written.refused, *written.unconfirmed}
        for index, write in enumerate(writes):
            if index not in failed:
                self._clean[write.key] = write.item
        self.written += len(writes) - len(failed)
        self._keep({writes[index].key: batches[writes[index].key] for index in failed}, later)
        self._evict()
        if written.unconfirmed:
            raise StoreUnavailable(f"{len(written.unconfirmed)} counter items were not confirmed")
        return not failed

    def _batches(self, later: Collection[Target]) -> dict[CounterKey, list[tuple[str, Batch]]]:
        """What each item is to get, for which of its counters.

        A group's batch is added up once and shared by its counters. All counters of an item are written together, or
        its mark would claim contributions to one that are not in.
        """
        batches: dict[CounterKey, list[tuple[str, Batch]]] = {}
        for target, contributions in self._pending.items():
            if target in later:
                continue
            batch = Batch(contributions)
            for key in target.keys if isinstance(target, KeyGroup) else (target,):
                item, name = home(key)
                if item in batches:
                    batches[item].append((name, batch))
                else:
                    batches[item] = [(name, batch)]
        return batches

    def _load(self, keys: list[CounterKey]) -> None:
        if keys:
            self._clean.update(self._store.load_counters(self._shard, keys))

    def _keep(
        self,
        unwritten: dict[CounterKey, list[tuple[str, Batch]]],
        later: dict[Target, list[PendingContribution]],
    ) -> None:
        """Only what was not written, each counter for itself, and what comes later is pending now."""
        self._pending = dict(later)
        for item, batches in unwritten.items():
            for name, batch in batches:
                key = beside(item, name)
                self._pending[key] = sorted([*self._pending.get(key, ()), *batch.parts], key=itemgetter(0))
        self.waiting = sum(len(parts) for parts in self._pending.values())

    def _evict(self) -> None:
        for key in list(islice(self._clean, max(0, len(self._clean) - CACHED_ITEMS))):
            del self._clean[key]


def _waits(target: Target) -> bool:
    return isinstance(target, KeyGroup) or not is_fresh(target)


def _expires_at(key: CounterKey) -> int:
    return key[2] * 60 + MINUTE_DAYS * 86_400 if key[0] == "minute" else 0
