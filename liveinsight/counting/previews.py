"""Previews: what a shard has counted and not yet written, for readers alone.

Breakdowns and visitors are many items, so they are written seldom; a preview of them is one item per dimension, or
per site, and is replaced every few seconds. No counting depends on it: it may be lost, late or doubled.

A row says which stored mark it comes on top of, and up to which mark it goes. So it is never added twice:

    stored mark    = base          the row is added to what is stored
                   >= last         all of it is stored by now: the row is left out
                   between, below  some of it is stored: the row is left out, and the answer knows that it is in part

The last happens for moments only: after a crash, while the stream since the checkpoint is counted again.
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
    """What is to be added to one stored item, as `counters.encode_counter` packs it."""

    value: str
    base: str
    last: str
    counter: bytes


class CounterPreview(NamedTuple):
    """All that waits of one dimension on one site-local day; `mark` is the highest `last` of its rows."""

    site: str
    day: int
    dimension: str
    mark: str
    rows: bytes
    """`PreviewRow`s, see `encode_rows`."""
    expires_at: int
    """Epoch seconds."""


class VisitorPreview(NamedTuple):
    """The visitors of a site that were active last, as they will be stored; `mark` is their highest."""

    site: str
    mark: str
    states: Sequence[VisitorState]
    whole: bool
    """Whether no visitor that waits was left out."""
    expires_at: int
    """Epoch seconds."""


class _States(msgspec.Struct, array_like=True):
    whole: bool
    states: list[VisitorState]


_encoder = msgspec.msgpack.Encoder()
_rows_decoder = msgspec.msgpack.Decoder(list[PreviewRow])
_states_decoder = msgspec.msgpack.Decoder(_States)


def pack_row(row: PreviewRow) -> msgspec.Raw:
    """A row as it stands among others: encoded once, however often its dimension's preview is replaced."""
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
    """Inverse of `encode_states`: the states, and whether none was left out."""
    decoded = _states_decoder.decode(decompress(data))
    return decoded.states, decoded.whole


def on_top(
    rows: Iterable[PreviewRow], stored: Mapping[str, str], prefix: str = ""
) -> tuple[list[tuple[str, CounterItem]], bool]:
    """The rows to add to what is stored, as (value, counter), and whether one is stored in part.

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
    """Each visitor as whoever knows more of it has it."""
    best: dict[tuple[str, int], VisitorState] = {}
    for state in (*stored, *previewed):
        key = state.site, state.visitor
        if key not in best or state.mark > best[key].mark:
            best[key] = state
    return list(best.values())
