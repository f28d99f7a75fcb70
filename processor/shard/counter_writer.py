"""Gathers the contributions of one shard to counters and writes them, by compare-and-set on each item's mark."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter

from liveinsight.counting.contributions import Contribution, PendingContributions
from liveinsight.counting.counters import CounterItem, apply_contributions, encode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.layout import Cadence, Target, cadence_of, embedded_key, places_of
from liveinsight.counting.previews import CounterPreview
from liveinsight.model.errors import StoreUnavailable
from liveinsight.storage.store import CounterWrite, ProcessorStore
from processor.shard.item_cache import ItemCache
from processor.shard.options import ProcessorOptions
from processor.shard.preview_rows import PreviewRows

MINUTE_DAYS = 3
"""Days that live minutes are kept: longer than the window they answer for, and longer than any replay."""

ItemBatches = list[tuple[str, PendingContributions]]
"""Contributions to one item: the name of the embedded counter ("" for the item's own), and its contributions."""


class CounterWriter:
    """Gathers contributions and writes them.

    An item is written only if its stored mark is the one it was loaded with. After a failure the item is
    loaded again and only contributions beyond its mark are applied, so nothing is added twice or left out.
    """

    def __init__(self, store: ProcessorStore, shard: str, options: ProcessorOptions) -> None:
        self._store = store
        self._shard = shard
        self._pending: dict[Target, PendingContributions] = {}
        self._items: dict[Cadence, dict[CounterKey, ItemBatches]] = {cadence: {} for cadence in Cadence}
        """The same contributions by item. All counters of an item are written together: its one mark stands for all."""
        self._slice = options.counter_slice
        self._stored = ItemCache(options.cached_counters)
        self._previews = PreviewRows(options.preview_bytes)
        self.pending = 0
        """Contributions not yet written."""
        self.written = 0
        """Items written so far."""

    def add(self, contributions: list[Contribution]) -> None:
        """Take the contributions of an event. Marks must come in rising order."""
        pending = self._pending
        for contribution in contributions:
            batch = pending.get(contribution.target)
            if batch is None:
                batch = self._begin(contribution.target)
            batch.parts.append(contribution)
        self.pending += len(contributions)

    def flush(self, up_to: Cadence = Cadence.SLOW) -> bool:
        """Try once to write the pending contributions of the cadences up to `up_to`.

        Returns:
            Whether all of them are written.

        Raises:
            StoreUnavailable: the others stay pending.
        """
        due = [entry for cadence, items in self._items.items() if cadence <= up_to for entry in items.items()]
        failed: set[CounterKey] = set()
        unconfirmed = 0
        for at in range(0, len(due), self._slice):
            unconfirmed += self._write(due[at : at + self._slice], failed)
        self._forget(due, failed, up_to)
        if up_to is Cadence.SLOW:
            self._previews.clear()
            self._stored.forget()
        if unconfirmed:
            raise StoreUnavailable(f"{unconfirmed} counter items were not confirmed")
        return not failed

    def _write(self, due: Sequence[tuple[CounterKey, ItemBatches]], failed: set[CounterKey]) -> int:
        """Write items, add those that failed to `failed`, and return how many of these are unconfirmed."""
        stored = self._stored
        self._load([key for key, _ in due])
        writes: list[CounterWrite] = []
        items: list[CounterItem] = []
        for key, batches in due:
            item = stored.take(key)
            expected = item.mark
            if apply_contributions(item, batches, key.kind, key.dimension):
                writes.append(CounterWrite(key, expected, item.mark, encode_counter(item), _expires_at(key)))
                items.append(item)
            else:
                stored.put(key, item)
        # Written items are out of the cache until the store has confirmed them.
        written = self._store.write_counters(self._shard, writes)
        lost = {*written.refused, *written.unconfirmed}
        for index, (write, item) in enumerate(zip(writes, items, strict=True)):
            if index in lost:
                failed.add(write.key)
            else:
                stored.put(write.key, item, write.data)
        self.written += len(writes) - len(lost)
        return len(written.unconfirmed)

    def previews(self, expires_at: int, sites: Collection[str] | None) -> list[CounterPreview] | None:
        """Previews of the pending breakdowns of `sites` (None: of all) that changed since `previewed` was last called.

        Returns:
            The previews; None if one would be too large.

        Raises:
            StoreUnavailable: the marks of stored items are unknown; ask again.
        """
        previews = self._previews
        fresh = []
        for target, batch in self._pending.items():
            if batch.is_fresh:
                places = places_of(target)
                if sites is None or places[0].item.site in sites:
                    fresh.append((places, batch))
        new = {item for places, _ in fresh for item, _ in places if item not in previews}
        self._load(new)
        for item in new:
            previews.begin(item, self._stored.mark_of(item))
        added: dict[CounterKey, ItemBatches] = {}
        for places, batch in fresh:
            part = batch.take_fresh()
            for item, name in places:
                added.setdefault(item, []).append((name, part))
        for item, batches in added.items():
            previews.add(item, batches)
        return self._previews.changed(expires_at)

    def previewed(self) -> None:
        """The previews returned last are stored."""
        self._previews.stored()

    def _begin(self, target: Target) -> PendingContributions:
        """Pending contributions for `target`; those of a group are added up once for all of its counters."""
        batch = self._pending[target] = PendingContributions()
        for item, name in places_of(target):
            items = self._items[cadence_of(item)]
            batches = items.get(item)
            if batches is None:
                items[item] = [(name, batch)]
            else:
                batches.append((name, batch))
        return batch

    def _load(self, keys: Iterable[CounterKey]) -> None:
        missing = [key for key in keys if key not in self._stored]
        if missing:
            for key, item in self._store.load_counters(self._shard, missing).items():
                self._stored.put(key, item)

    def _forget(self, done: Sequence[tuple[CounterKey, ItemBatches]], failed: set[CounterKey], up_to: Cadence) -> None:
        """Drop what was written. What failed becomes pending again, each counter on its own."""
        if up_to is Cadence.SLOW:
            self._pending.clear()
            self.pending = 0
        else:
            # Groups are of breakdowns, so each of these batches is of one counter.
            for item, batches in done:
                for name, batch in batches:
                    self._pending.pop(embedded_key(item, name), None)
                    self.pending -= len(batch.parts)
        for cadence, items in self._items.items():
            if cadence <= up_to:
                items.clear()
        for item, batches in done if failed else ():
            if item not in failed:
                continue
            unwritten: dict[CounterKey, list[Contribution]] = {}
            for name, batch in batches:
                unwritten.setdefault(embedded_key(item, name), []).extend(batch.parts)
            for key, parts in unwritten.items():
                self._begin(key).parts.extend(sorted(parts, key=attrgetter("mark")))
                self.pending += len(parts)


def _expires_at(key: CounterKey) -> int:
    return key.bucket * 60 + MINUTE_DAYS * 86_400 if key.kind == "minute" else 0
