"""Counters of one shard on their way to the store: pending contributions, and the compare-and-set flush."""

from __future__ import annotations

from itertools import islice

import msgspec

from liveinsight.counters import (
    Batch,
    CounterItem,
    apply_batches,
    encode_counter,
)
from liveinsight.errors import StoreUnavailable
from liveinsight.fold import Cadence, Contribution, CounterKey, KeyGroup, Target, beside, cadence_of, home
from liveinsight.previews import CounterPreview, PreviewRow, encode_rows, pack_row
from liveinsight.store import CounterWrite, ProcessorStore

CACHED_ITEMS = 50_000
"""Clean counter items kept in memory per shard, so that a hot one is read once."""
MINUTE_DAYS = 3
"""Days that live minutes are kept: beyond the window they answer for, and beyond any replay."""
PREVIEW_BYTES = 300_000
"""Of the rows of one preview, which is one item: that may have 400 KB."""

ItemBatches = list[tuple[str, Batch]]
"""What an item is to get: batches with the name of the counter beside the item's own that each is for, or ""."""


class CounterWriter:
    """Gathers contributions and writes them.

    An item is written only if its stored mark is the one it was loaded with. After a failure the item is
    loaded again and only contributions beyond its mark are applied, so nothing is added twice or left out.
    """

    def __init__(self, store: ProcessorStore, shard: str) -> None:
        self._store = store
        self._shard = shard
        self._pending: dict[Target, Batch] = {}
        self._items: dict[CounterKey, ItemBatches] = {}
        """The same batches by the item they go to: all counters of an item are written together, or its mark would
        claim contributions to one that are not in."""
        self._clean: dict[CounterKey, CounterItem] = {}
        self._previews = _Previews()
        self.waiting = 0
        """Contributions not yet written."""
        self.written = 0
        """Items written so far."""

    def add(self, mark: str, contributions: list[Contribution]) -> None:
        """Take what the event at `mark` adds. Marks must come in rising order."""
        pending = self._pending
        for target, measures, hour, visitor in contributions:
            batch = pending.get(target)
            if batch is None:
                batch = self._begin(target)
            batch.parts.append((mark, measures, hour, visitor))
        self.waiting += len(contributions)

    def flush(self, up_to: Cadence = Cadence.SLOW) -> bool:
        """Try once to write what is pending of the cadences up to `up_to`.

        Returns:
            Whether that is written.

        Raises:
            StoreUnavailable: what was not written stays pending.
        """
        due = {key: batches for key, batches in self._items.items() if cadence_of(key) <= up_to}
        if not due:
            return True
        self._load([key for key in due if key not in self._clean])
        writes: list[CounterWrite] = []
        for key, batches in due.items():
            item = self._clean.pop(key, None) or CounterItem()
            expected = item.mark
            if apply_batches(item, batches, key[0], key[3]):
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
        self._forget(due, {writes[index].key for index in failed})
        if up_to is Cadence.SLOW:
            self._previews.clear()
            self._evict()
        if written.unconfirmed:
            raise StoreUnavailable(f"{len(written.unconfirmed)} counter items were not confirmed")
        return not failed

    def previews(self, expires_at: int) -> list[CounterPreview] | None:
        """What waits of the breakdowns that have changed since `previewed` was last called; None: it is too much.

        Raises:
            StoreUnavailable: the marks of stored items are not known; ask again.
        """
        changed = [
            key for key, batches in self._items.items()
            if key[0] == "dimension" and any(batch.has_new for _, batch in batches)
        ]  # fmt: skip
        self._load([key for key in changed if key not in self._clean])
        for key in changed:
            base = self._clean.setdefault(key, CounterItem()).mark
            added = CounterItem(mark=base)
            if apply_batches(added, self._items[key], key[0], key[3]):
                self._previews.put(key, base, added)
        return self._previews.changed(expires_at)

    def previewed(self) -> None:
        """The previews that were given last are stored."""
        self._previews.stored()

    def _begin(self, target: Target) -> Batch:
        """A batch for `target`; a group's is added up once and shared by its counters."""
        batch = self._pending[target] = Batch()
        for key in target.keys if isinstance(target, KeyGroup) else (target,):
            item, name = home(key)
            if item in self._items:
                self._items[item].append((name, batch))
            else:
                self._items[item] = [(name, batch)]
        return batch

    def _load(self, keys: list[CounterKey]) -> None:
        if keys:
            self._clean.update(self._store.load_counters(self._shard, keys))

    def _forget(self, done: dict[CounterKey, ItemBatches], failed: set[CounterKey]) -> None:
        """Pending is what was not due, and of what was due that which was not written, each counter for itself."""
        shared = {id(batch) for batches in done.values() for _, batch in batches}
        self._pending = {target: batch for target, batch in self._pending.items() if id(batch) not in shared}
        self._items = {key: batches for key, batches in self._items.items() if key not in done}
        for item in failed:
            unwritten: dict[CounterKey, list[Batch]] = {}
            for name, batch in done[item]:
                unwritten.setdefault(beside(item, name), []).append(batch)
            for key, batches in unwritten.items():
                self._begin(key).take(batches)
        self.waiting = sum(len(batch.parts) for batch in self._pending.values())

    def _evict(self) -> None:
        for key in list(islice(self._clean, max(0, len(self._clean) - CACHED_ITEMS))):
            del self._clean[key]


class _Previews:
    """The rows of all previews since the last full flush, packed, and which previews have changed."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int, str], dict[str, tuple[str, msgspec.Raw]]] = {}
        self._changed: set[tuple[str, int, str]] = set()

    def put(self, key: CounterKey, base: str, added: CounterItem) -> None:
        """Replace the row of an item."""
        _, site, day, dimension, value = key
        row = PreviewRow(value, base, added.mark, encode_counter(added))
        self._rows.setdefault((site, day, dimension), {})[value] = (added.mark, pack_row(row))
        self._changed.add((site, day, dimension))

    def changed(self, expires_at: int) -> list[CounterPreview] | None:
        previews = []
        for name in self._changed:
            rows = self._rows[name].values()
            packed = encode_rows([row for _, row in rows])
            if len(packed) > PREVIEW_BYTES:
                return None
            previews.append(CounterPreview(*name, max(mark for mark, _ in rows), packed, expires_at))
        return previews

    def stored(self) -> None:
        self._changed.clear()

    def clear(self) -> None:
        self._rows.clear()
        self._changed.clear()


def _expires_at(key: CounterKey) -> int:
    return key[2] * 60 + MINUTE_DAYS * 86_400 if key[0] == "minute" else 0
