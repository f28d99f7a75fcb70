"""Previews: what a shard has counted and not yet written, for readers only.

Breakdowns and visitors are many items, so they are written once a minute. Their preview is one item per dimension, or
per site, replaced every few seconds. No counting depends on it: it may be lost, late or written twice.

A row names the stored mark that it adds to, `base`, and the last mark that it contains. So it is never added twice:

    stored mark    = base          the row is added to the stored counter
                   >= last         all of it is stored by now: the row is left out
                   between, below  some of it is stored: the row is left out, and the answer is marked as partial

The last case lasts for moments: after a crash, while the stream since the checkpoint is counted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from liveinsight.counting.compression import compress, decompress
from liveinsight.counting.counters import CounterItem, decode_counter
from liveinsight.counting.sessions import VisitorState
from liveinsight.model.marks import NO_MARK

PREVIEW_DAYS = 2
"""Days that a preview outlives its last change."""


class PreviewRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What to add to one stored item, packed by `counters.encode_counter`."""

    value: str
    base: str
    last: str
    counter: bytes


class CounterPreview(NamedTuple):
    """The pending rows of one dimension on one site-local day; `mark` is the highest `last` of them."""

    site: str
    day: int
    dimension: str
    mark: str
    rows: bytes
    """`PreviewRow`s, see `encode_rows`."""
    expires_at: int
    """Epoch seconds."""


class VisitorPreview(NamedTuple):
    """The latest active visitors of a site, as they will be stored; `mark` is the highest of theirs."""

    site: str
    mark: str
    states: Sequence[VisitorState]
    whole: bool
    """Whether all pending visitors are in it."""
    expires_at: int
    """Epoch seconds."""


class _States(msgspec.Struct, array_like=True):
    whole: bool
    states: list[VisitorState]


_encoder = msgspec.msgpack.Encoder()
_rows_decoder = msgspec.msgpack.Decoder(list[PreviewRow])
_states_decoder = msgspec.msgpack.Decoder(_States)


def pack_row(row: PreviewRow) -> msgspec.Raw:
    """An encoded row, so that a row is encoded once for many previews."""
    return msgspec.Raw(_encoder.encode(row))


def encode_rows(rows: Sequence[msgspec.Raw]) -> bytes:
    """Stored form of packed rows."""
    return compress(_encoder.encode(rows))


def decode_rows(data: bytes) -> list[PreviewRow]:
    """Inverse of `encode_rows`."""
    return _rows_decoder.decode(decompress(data))


def encode_states(preview: VisitorPreview) -> bytes:
    """Stored form of a preview's states."""
    return compress(_encoder.encode(_States(preview.whole, list(preview.states))))


def decode_states(data: bytes) -> tuple[list[VisitorState], bool]:
    """Inverse of `encode_states`: the states, and whether all pending visitors are in it."""
    decoded = _states_decoder.decode(decompress(data))
    return decoded.states, decoded.whole


def on_top(
    rows: Iterable[PreviewRow], stored: Mapping[str, str], prefix: str = ""
) -> tuple[list[tuple[str, CounterItem]], bool]:
    """The rows to add to stored counters, as (value, counter), and whether a row was left out because part of it is
    stored.

    Args:
        rows: of one shard's preview.
        stored: marks of the shard's stored items, by `prefix` and value.
        prefix: before the values in the names of `stored`.
    """
    shown = []
    partial = False
    for row in rows:
        mark = stored.get(prefix + row.value, NO_MARK)
        if mark == row.base:
            shown.append((row.value, decode_counter(row.counter, NO_MARK)))
        elif mark < row.last:
            partial = True
    return shown, partial


def newest(stored: Iterable[VisitorState], previewed: Iterable[VisitorState]) -> list[VisitorState]:
    """For each visitor the state with the higher mark."""
    best: dict[tuple[str, int], VisitorState] = {}
    for state in (*stored, *previewed):
        key = state.site, state.visitor
        if key not in best or state.mark > best[key].mark:
            best[key] = state
    return list(best.values())
