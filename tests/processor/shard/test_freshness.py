"""What a shard says about its own freshness: never more than is true, and never stuck."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from liveinsight.counting.fold import Folded
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import timeline_event
from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.events import encode_record
from liveinsight.storage.store import SHARD_END, Store, VisitorKey, Watermark
from liveinsight.storage.stream import Record
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from processor.shard.visitor_writer import VisitorWriter

SHARD, OTHER = "shardId-000000000000", "shardId-000000000001"


class Notes:
    """A checkpointer that remembers."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def checkpoint(self, sequence_number: str) -> None:
        self.reached.append(sequence_number)


class Dies(BaseException):
    """The process is gone."""


def test_watermark_does_not_claim_what_arrived_while_the_store_was_slow(clock: FakeClock) -> None:
    """`as_of` is of the moment before the batch was folded, not of the moment its visitors were loaded at last."""

    class Slow(MemoryStore):
        left = 3

        def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
            if self.left:
                self.left -= 1
                raise StoreUnavailable("throttled")
            return super().load_visitors(keys)

    store, began = Slow(), clock()
    processor = RecordProcessor(store, 1, ProcessorOptions(), clock, sleep=lambda _: clock.advance(seconds=2))
    processor.initialize(SHARD, "")
    processor.process_records([Record("1", "b001", encode_record([an_event()]), began)], Notes(), 0)
    assert clock() > began
    assert store.watermarks[SHARD].as_of < began


def test_shard_that_ends_is_closed_before_its_last_checkpoint(clock: FakeClock) -> None:
    """A crash at the closing watermark leaves the shard's end unreached, so that somebody comes back to close it."""

    class DiesAtTheEnd(MemoryStore):
        def write_watermark(self, watermark: Watermark) -> None:
            if watermark.closed:
                raise Dies
            super().write_watermark(watermark)

    notes = Notes()
    processor = RecordProcessor(DiesAtTheEnd(), 1, ProcessorOptions(), clock)
    processor.initialize(SHARD, "")
    processor.process_records([], notes, 0)
    with pytest.raises(Dies):
        processor.shard_ended(notes)
    assert SHARD_END not in notes.reached


def test_zombie_does_not_open_a_closed_shard(any_store: Store) -> None:
    """What is said late about a shard that has ended holds nothing back."""
    any_store.write_watermark(Watermark(SHARD, 2000, True, 1))
    any_store.write_watermark(Watermark(OTHER, 9000, False, 1))
    any_store.write_watermark(Watermark(SHARD, 1000, False, 1))
    assert freshest_possible(any_store.read_watermarks().rows) == 9000


def test_visitors_that_share_a_session_keep_all_of_its_events(any_store: Store) -> None:
    """A replay that skips one visitor's events takes none of them out of the session's timeline."""
    events = [(str(n), an_event(at=n, visitor=visitor, session_id="s")) for n, visitor in ((1, 1), (2, 257), (3, 1))]
    for replayed in (events, [events[0], events[2]]):
        writer = VisitorWriter(any_store, ProcessorOptions())
        writer.load([("default", 1), ("default", 257)])
        for mark, event in replayed:
            writer.touched(("default", event.visitor), Folded([], "s", begins=True), mark, event)
        writer.flush()
    assert any_store.read_timeline("default", "s", 10).rows == [(mark, timeline_event(event)) for mark, event in events]
