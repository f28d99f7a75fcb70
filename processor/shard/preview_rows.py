"""The rows of one shard's previews: pending contributions to breakdowns, added up as they come."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from liveinsight.counting.contributions import PendingContributions
from liveinsight.counting.counters import CounterItem, apply_contributions, encode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.previews import CounterPreview, PreviewRow, encode_rows, pack_row

_Breakdown = tuple[str, int, str]
"""(site, day, dimension): the breakdown of one preview."""


class PreviewRows:
    """The rows since the last full flush, and which previews have changed."""

    def __init__(self, preview_bytes: int) -> None:
        self._preview_bytes = preview_bytes
        # Each has the mark of the stored item that it is added to.
        self._added: dict[CounterKey, CounterItem] = {}
        self._rows: dict[_Breakdown, dict[str, tuple[str, msgspec.Raw]]] = {}
        self._changed: set[_Breakdown] = set()

    def __contains__(self, key: CounterKey) -> bool:
        return key in self._added

    def begin(self, key: CounterKey, base: str) -> None:
        """Begin a row for an item whose stored mark is `base`."""
        self._added[key] = CounterItem(mark=base)

    def add(self, key: CounterKey, batches: Iterable[tuple[str, PendingContributions]]) -> None:
        """Add new contributions to an item's row (see `counters.apply_contributions`)."""
        added = self._added[key]
        base = added.mark
        kind, site, day, dimension, value = key
        if apply_contributions(added, batches, kind, dimension):
            row = PreviewRow(value, base, added.mark, encode_counter(added))
            self._rows.setdefault((site, day, dimension), {})[value] = (row.last, pack_row(row))
            self._changed.add((site, day, dimension))
            added.mark = base

    def changed(self, expires_at: int) -> list[CounterPreview] | None:
        """The previews with new rows since `stored` was last called; None if one would be too large."""
        previews = []
        for name in self._changed:
            rows = self._rows[name].values()
            packed = encode_rows([row for _, row in rows])
            if len(packed) > self._preview_bytes:
                return None
            previews.append(CounterPreview(*name, max(mark for mark, _ in rows), packed, expires_at))
        return previews

    def stored(self) -> None:
        """The previews returned last are stored."""
        self._changed.clear()

    def clear(self) -> None:
        """Nothing is pending any more."""
        self._added.clear()
        self._rows.clear()
        self._changed.clear()
