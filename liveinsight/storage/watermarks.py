"""Freshness of all shards together: the least of the watermarks that count.

A closed shard gets no new records, and shards of an older incarnation of the stream are gone: neither counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from liveinsight.storage.store import Watermark


def freshest_possible(watermarks: Iterable[Watermark]) -> int | None:
    """The time up to which everything is stored; None if nothing is known."""
    return min((mark.as_of for mark in _open(watermarks)), default=None)


def freshest_totals(watermarks: Iterable[Watermark]) -> int | None:
    """As `freshest_possible`, for the counters of `Cadence.FAST`."""
    return min((max(mark.as_of, mark.fresh_as_of) for mark in _open(watermarks)), default=None)


def freshest_previews(watermarks: Iterable[Watermark]) -> int | None:
    """As `freshest_possible`, for what is stored or previewed."""
    return min((max(mark.as_of, mark.preview_as_of) for mark in _open(watermarks)), default=None)


def _open(watermarks: Iterable[Watermark]) -> list[Watermark]:
    known = list(watermarks)
    newest = max((mark.incarnation for mark in known), default=0)
    return [mark for mark in known if not mark.closed and mark.incarnation == newest]
