"""Changes to the design whose cost can be computed before they are made. None is part of the product.

Each wraps the real processor or store, or changes what the metering takes an item to be. They are built to be
counted, not to be kept: what one would need besides stands in its docstring.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from bench.instant import NAMES
from bench.metering import Metering, with_sketch_of
from liveinsight.dynamo import Dynamo, Item, Statement, key_item
from liveinsight.dynamo_store import DynamoStore
from liveinsight.events import Event, encode_events
from liveinsight.fold import KeyGroup, Target
from liveinsight.keys import timeline_partition
from liveinsight.sessions import VisitorState
from liveinsight.store import CounterWrite, TimelineChunk, VisitorWrite, Written
from processor.counter_writer import CounterWriter
from processor.record_processor import RecordProcessor

FEED_LENGTH = 50
CHUNK_EVENTS = 6
SMALL_SKETCH_BYTES = 680
PAGE_DIMENSIONS = ("page", "entry_page", "exit_page")


@dataclass(frozen=True)
class Variant:
    """One change, or several."""

    name: str
    five_minute_list: bool = False
    """The live list by five minutes instead of one: a visit changes its place less often."""
    live_feed: bool = False
    """Instead of the index, one item per shard with the latest visitors, written with the sessions."""
    no_timeline: bool = False
    waiting_timeline: bool = False
    """Events wait in the visitor's item, without what the visit says anyway and compressed, until there are six; only
    then a chunk is written."""
    slow_breakdowns: bool = False
    """Only totals and minutes are written at the counters' interval, breakdowns with the sessions."""
    merged_pages: bool = False
    """A page's views, entries and exits in one item, with one sketch."""
    small_sketches: bool = False
    """Sketches of breakdowns have 2^10 rows: 680 bytes at most, and 2.1 % standard error instead of 1.5."""
    no_sketches: bool = False
    """Distinct visitors in totals only."""
    compact_visitors: bool = False
    """States as small as compression makes them: field names and ids in binary would do as much."""
    sessions_interval: float = 0
    """Seconds; 0 keeps the cadence."""

    def metering(self) -> Metering:
        """The database that such items would be stored in."""
        return Metering(resized=self._resized, group_of=_page_group if self.merged_pages else lambda kind, name: "")

    def store(self, dynamo: Dynamo) -> DynamoStore:
        """The store that would write them."""
        return _Store(dynamo, self)

    @property
    def processor(self) -> type[RecordProcessor]:
        """The processor that would call it."""
        return _SlowBreakdowns if self.slow_breakdowns else RecordProcessor

    def _resized(self, kind: str, item: Item) -> Item:
        if kind.startswith("dimension"):
            borrowed = self.merged_pages and kind.removeprefix("dimension ") in PAGE_DIMENSIONS[1:]
            if self.no_sketches or borrowed:
                return {**item, "b": {"B": with_sketch_of(0, item["b"]["B"])}}
            if self.small_sketches:
                return {**item, "b": {"B": with_sketch_of(SMALL_SKETCH_BYTES, item["b"]["B"])}}
        if kind == "visitor" and self.compact_visitors:
            return {**item, "s": {"B": zlib.compress(item["s"]["B"])}}
        return item


def _page_group(kind: str, name: tuple[str, str]) -> str:
    day, _, dimension = name[0].rpartition("#")
    return f"{day}#{name[1]}" if kind.startswith("dimension") and dimension in PAGE_DIMENSIONS else ""


class _Store(DynamoStore):
    def __init__(self, dynamo: Dynamo, variant: Variant) -> None:
        super().__init__(dynamo, NAMES)
        self._variant = variant
        self._waiting: dict[tuple[str, str], list[tuple[str, Event]]] = {}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        metering: Any = self._dynamo.client
        metering.flush += 1
        return super().write_counters(shard, writes)

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        if self._variant.live_feed and writes:
            latest = sorted((write.state for write in writes), key=lambda state: -state.seen_at)[:FEED_LENGTH]
            body = msgspec.msgpack.encode([_entry(state) for state in latest])
            self._dynamo.put(self._sessions, [key_item(("l#default", "0")) | {"f": {"B": body}}])
        return super().write_visitors(writes)

    def _visitor_statement(self, write: VisitorWrite, is_new: bool) -> Statement:
        statement = super()._visitor_statement(write, is_new)
        text, parameters = statement
        minute = next((p for p in parameters if len(p.get("S", "")) == 10 and p["S"].isdigit()), None)
        if minute and self._variant.five_minute_list:
            minute["S"] = f"{int(minute['S']) // 5 * 5:010d}"
        if self._variant.live_feed:
            # A name that is no key of the index: the item keeps its size, the index is empty.
            text = text.replace("live_minute", "seen_minute").replace("live_site", "seen_site")
        if self._variant.waiting_timeline:
            keys = [(write.state.site, session.id) for session in write.state.sessions]
            waiting = [pair for key in keys for pair in self._waiting.get(key, ())]
            packed = {"B": zlib.compress(msgspec.msgpack.encode([_own_part(event) for _, event in waiting]))}
            if is_new:
                return Statement(text[:-1] + ", 'w': ?}", [*parameters, packed])
            return Statement(text.replace(" SET ", ' SET "w" = ?, '), [packed, *parameters])
        return Statement(text, parameters)

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        if self._variant.no_timeline:
            return
        if not self._variant.waiting_timeline:
            super().write_timeline(chunks)
            return
        for chunk in chunks:
            waiting = self._waiting.setdefault((chunk.site, chunk.session_id), [])
            waiting.extend(chunk.events)
            if len(waiting) >= CHUNK_EVENTS:
                key = timeline_partition(chunk.site, chunk.session_id), f"{waiting[0][0]}~{waiting[-1][0]}"
                body = {"e": {"B": zlib.compress(encode_events(waiting))}, "ttl": {"N": str(chunk.expires_at)}}
                self._dynamo.put(self._sessions, [key_item(key) | body])
                del self._waiting[chunk.site, chunk.session_id]


def _own_part(event: Event) -> tuple[object, ...]:
    """What an event says that its visit does not, its place in the stream included."""
    element = event.element and (event.element.tag, event.element.classes, event.element.text)
    times = event.occurred_at % 86_400_000, event.received_at - event.occurred_at
    return (
        event.event_id,
        *times,
        event.type,
        event.page,
        event.title,
        event.engaged_ms,
        element,
        event.event_id & 0xFFFFFF,
    )


def _entry(state: VisitorState) -> tuple[object, ...]:
    """What the list shows of a visitor."""
    visit = max(state.sessions, key=lambda session: session.last_at)
    values = tuple(value for _, value in visit.rows)
    return visit.id, state.visitor, visit.current_page, visit.title, visit.started_at, visit.last_at, values


class _SlowBreakdownWriter(CounterWriter):
    def flush(self, *, live: bool = True) -> bool:
        if live:
            return super().flush()
        later = {target: parts for target, parts in self._pending.items() if _is_breakdown(target)}
        for target in later:
            del self._pending[target]
        done = super().flush(live=False)
        self._pending.update(later)
        return done


def _is_breakdown(target: Target) -> bool:
    return isinstance(target, KeyGroup) or target[0] == "dimension"


class _SlowBreakdowns(RecordProcessor):
    def initialize(self, shard_id: str, sequence_number: str) -> None:
        super().initialize(shard_id, sequence_number)
        self._counters = _SlowBreakdownWriter(self._store, shard_id)


AS_IT_IS = Variant("as it is")
ALL = Variant(
    "feed, compact, waiting timeline, slow merged pages",
    live_feed=True,
    waiting_timeline=True,
    slow_breakdowns=True,
    merged_pages=True,
    compact_visitors=True,
)
VARIANTS = (
    AS_IT_IS,
    Variant("live list by 5 minutes", five_minute_list=True),
    Variant("live feed instead of live list", live_feed=True),
    Variant("no timeline", no_timeline=True),
    Variant("timeline waits in the visitor, compact", waiting_timeline=True, compact_visitors=True),
    Variant("breakdowns with the sessions", slow_breakdowns=True),
    Variant("a page's rows in one item", merged_pages=True),
    Variant("small sketches in breakdowns", small_sketches=True),
    Variant("no sketches in breakdowns", no_sketches=True),
    ALL,
    replace(ALL, name="  and small sketches (s)", small_sketches=True),
    replace(ALL, name="  and no timeline (s)", small_sketches=True, waiting_timeline=False, no_timeline=True),
    replace(ALL, name="  and sessions every 30 s (s)", small_sketches=True, sessions_interval=30),
    replace(ALL, name="  and sessions every 60 s (s)", small_sketches=True, sessions_interval=60),
)
"""The first is the product; (s): with small sketches."""
