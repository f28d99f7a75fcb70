"""What waits of the breakdowns of one shard, as previews show it: added up as it comes, encoded where it changed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from liveinsight.counting.contributions import PendingContributions
from liveinsight.counting.counters import CounterItem, apply_contributions, encode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.previews import CounterPreview, PreviewRow, encode_rows, pack_row

PREVIEW_BYTES = 300_000
"""Of the rows of one preview, which is one item: that may have 400 KB."""

_Breakdown = tuple[str, int, str]
"""(site, day, dimension): what one preview holds."""


class PreviewRows:
    """The rows since the last full flush, and which previews have changed."""

    def __init__(self) -> None:
        # Their marks are those of the stored items that they come on top of.
        self._added: dict[CounterKey, CounterItem] = {}
        self._rows: dict[_Breakdown, dict[str, tuple[str, msgspec.Raw]]] = {}
        self._changed: set[_Breakdown] = set()

    def __contains__(self, key: CounterKey) -> bool:
        return key in self._added

    def begin(self, key: CounterKey, base: str) -> None:
        """A row for an item whose stored mark is `base`."""
        self._added[key] = CounterItem(mark=base)

    def add(self, key: CounterKey, batches: Iterable[tuple[str, PendingContributions]]) -> None:
        """Add what has come for an item since this was called for it last (see `counters.apply_batches`)."""
        added = self._added[key]
        base = added.mark
        kind, site, day, dimension, value = key
        if apply_contributions(added, batches, kind, dimension):
            row = PreviewRow(value, base, added.mark, encode_counter(added))
            self._rows.setdefault((site, day, dimension), {})[value] = (row.last, pack_row(row))
            self._changed.add((site, day, dimension))
            added.mark = base

    def changed(self, expires_at: int) -> list[CounterPreview] | None:
        """The previews with new rows since `stored` was last called; None: it is too much for one."""
        previews = []
        for name in self._changed:
            rows = self._rows[name].values()
            packed = encode_rows([row for _, row in rows])
            if len(packed) > PREVIEW_BYTES:
                return None
            previews.append(CounterPreview(*name, max(mark for mark, _ in rows), packed, expires_at))
        return previews

    def stored(self) -> None:
        """The previews that were given last are stored."""
        self._changed.clear()

    def clear(self) -> None:
        """Nothing waits any more."""
        self._added.clear()
        self._rows.clear()
        self._changed.clear()
