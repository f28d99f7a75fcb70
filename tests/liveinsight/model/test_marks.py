"""Marks: what is copied from one stream's store to another's stays in order, below all that is counted there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveinsight.model.marks import FIRST_STREAM_MS, NO_MARK, copied_mark, event_mark, mark_prefix, record_mark

INCARNATIONS = st.integers(FIRST_STREAM_MS, 10**13 - 1)


@st.composite
def marks(draw: st.DrawFn) -> str:
    shard = f"shardId-{draw(st.integers(0, 40)):012d}"
    sequence = str(draw(st.integers(1, 10**56)))
    mark = event_mark(record_mark(mark_prefix(draw(INCARNATIONS), shard), sequence), draw(st.integers(0, 500)))
    for _ in range(draw(st.integers(0, 3))):
        mark = copied_mark(mark)
    return mark


@given(marks(), marks())
def test_copied_marks_keep_their_order(one: str, other: str) -> None:
    """Also those that were copied before; different marks stay different."""
    assert (one < other) == (copied_mark(one) < copied_mark(other))
    assert (one == other) == (copied_mark(one) == copied_mark(other))


@given(marks(), INCARNATIONS)
def test_copied_marks_are_below_every_stream(mark: str, incarnation: int) -> None:
    """However old the stream of the target is: whatever it brings is counted."""
    assert NO_MARK < copied_mark(mark) < mark_prefix(incarnation, "")


def test_no_mark_stays_none() -> None:
    """Of a visitor that was never counted, for example."""
    assert copied_mark(NO_MARK) == NO_MARK
