"""Freshness of all shards together: the least of the watermarks that count.

A closed shard gets no new records, and shards of an older incarnation of the stream are gone: neither counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from liveinsight.storage.store import Watermark


def freshest_possible(watermarks: Iterable[Watermark]) -> int | None:
    """The time up to which everything is stored; None if nothing is known."""
    return _least(mark.as_of for mark in _open(watermarks))


def freshest_totals(watermarks: Iterable[Watermark]) -> int | None:
    """As `freshest_possible`, for the counters of `Cadence.FAST`."""
    return _least(max(mark.as_of, mark.fresh_as_of) for mark in _open(watermarks))


def freshest_previews(watermarks: Iterable[Watermark], site: str) -> int | None:
    """As `freshest_possible`, for what is stored or previewed of a site."""
    return _least(max(mark.as_of, _previewed(mark, site)) for mark in _open(watermarks))


def _least(times: Iterable[int]) -> int | None:
    """The least; None without any, or if that of a shard is 0: a worker is about to begin with it."""
    return min(times, default=None) or None


def _previewed(mark: Watermark, site: str) -> int:
    return mark.preview_as_of if mark.previewed is None or site in mark.previewed else 0


def _open(watermarks: Iterable[Watermark]) -> list[Watermark]:
    known = list(watermarks)
    newest = max((mark.incarnation for mark in known), default=0)
    return [mark for mark in known if not mark.closed and mark.incarnation == newest]


def supersedes(new: Watermark, stored: Watermark) -> bool:
    """Whether `new` replaces the stored watermark of its shard: see `ProcessorStore.write_watermark`."""
    if new.incarnation != stored.incarnation:
        return new.incarnation > stored.incarnation
    if stored.closed or new.closed:
        return not stored.closed
    pairs = list(zip(_times(new), _times(stored), strict=True))
    return any(later > earlier for later, earlier in pairs) and all(later >= earlier for later, earlier in pairs)


def _times(watermark: Watermark) -> tuple[int, int, int]:
    return watermark.as_of, watermark.fresh_as_of, watermark.preview_as_of
