"""A store in memory, held to the same contract suite as the one on DynamoDB (tests/liveinsight/storage)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from liveinsight.counting.counters import CounterItem, decode_counter, encode_counter, split_totals
from liveinsight.counting.keys import CounterKey, dimension_key
from liveinsight.counting.layout import QUARTERS_PER_ITEM, storage_item
from liveinsight.counting.previews import (
    CounterPreview,
    VisitorPreview,
    decode_rows,
    decode_states,
    encode_states,
    on_top,
)
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.counting.timeline import Marked, in_timeline_order
from liveinsight.model.ids import visitor_of
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.store import (
    Checkpoint,
    CounterWrite,
    DeadLetter,
    DeadLetterSummary,
    Document,
    Read,
    TimelineChunk,
    VisitorKey,
    VisitorWrite,
    Watermark,
    Written,
    tail_of,
    visitors_read,
)
from liveinsight.storage.watermarks import supersedes


def _copy(item: CounterItem) -> CounterItem:
    return decode_counter(encode_counter(item), item.mark)


class MemoryStore:
    """A `Store` in one process. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counters: dict[tuple[str, CounterKey], CounterItem] = {}
        self.visitors: dict[VisitorKey, tuple[str, bytes]] = {}
        self.timeline: dict[tuple[str, str], dict[tuple[str, str], TimelineChunk]] = {}
        self.dead_letters: dict[str, DeadLetter] = {}
        self.watermarks: dict[str, Watermark] = {}
        self.counter_previews: dict[tuple[str, str, int, str], CounterPreview] = {}
        self.visitor_previews: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.salts: dict[int, bytes] = {}
        self.documents: dict[str, Document] = {}

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        with self._lock:
            return {key: _copy(self.counters[shard, key]) for key in keys if (shard, key) in self.counters}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        written = Written()
        with self._lock:
            for index, write in enumerate(writes):
                stored = self.counters.get((shard, write.key))
                if (stored.mark if stored else NO_MARK) != write.expected:
                    written.refused.append(index)
                else:
                    self.counters[shard, write.key] = decode_counter(write.data, write.mark)
        return written

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        with self._lock:
            return {key: decode_visitor(self.visitors[key][1]) for key in keys if key in self.visitors}

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        written = Written()
        with self._lock:
            for index, write in enumerate(writes):
                stored = self.visitors.get(write.key)
                if stored and stored[0] >= write.mark:
                    written.refused.append(index)
                else:
                    self.visitors[write.key] = (write.mark, write.data)
        return written

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        with self._lock:
            for chunk in chunks:
                session = self.timeline.setdefault((chunk.site, chunk.session_id), {})
                session[chunk.events[0][0], chunk.events[-1][0]] = chunk._replace(events=tuple(chunk.events))

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        with self._lock:
            self.dead_letters.update({record.mark: record for record in records})

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        with self._lock:
            for each in counters:
                name = (shard, each.site, each.day, each.dimension)
                if name not in self.counter_previews or self.counter_previews[name].mark < each.mark:
                    self.counter_previews[name] = each
            for one in visitors:
                known = self.visitor_previews.get((shard, one.site))
                if known is None or known[0] < one.mark:
                    self.visitor_previews[shard, one.site] = (one.mark, encode_states(one))

    def write_watermark(self, watermark: Watermark) -> None:
        with self._lock:
            stored = self.watermarks.get(watermark.shard_id)
            if stored is None or supersedes(watermark, stored):
                self.watermarks[watermark.shard_id] = watermark

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        with self._lock:
            return dict(self.checkpoints)

    def write_checkpoint(self, shard_id: str, checkpoint: Checkpoint) -> None:
        with self._lock:
            stored = self.checkpoints.get(shard_id)
            if stored is None or stored.rank < checkpoint.rank:
                self.checkpoints[shard_id] = checkpoint

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        first_bucket = first_quarter - first_quarter % QUARTERS_PER_ITEM
        read = self._buckets("totals", site, first_bucket, last_quarter)
        return Read(split_totals(read.rows, first_quarter, last_quarter), read.items_read)

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        return self._buckets("minute", site, first_minute, last_minute, dimension)

    def _buckets(
        self, kind: str, site: str, first: int, last: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        with self._lock:
            rows = [
                (key.bucket, _copy(item))
                for (_, key), item in self.counters.items()
                if (key.kind, key.site, key.dimension) == (kind, site, dimension) and first <= key.bucket <= last
            ]
        return Read(rows, len(rows))

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        host, name = storage_item(dimension_key(site, day, dimension, ""))
        with self._lock:
            items = {
                (shard, key.value): item
                for (shard, key), item in self.counters.items()
                if key._replace(value="") == host
            }
            breakdown = site, day, host.dimension
            previews = {shard: each for (shard, *of), each in self.counter_previews.items() if tuple(of) == breakdown}
            rows = [(value, _copy(item)) for (_, value), item in items.items()]
        partial = False
        for shard, preview in previews.items():
            marks = {value: item.mark for (of, value), item in items.items() if of == shard}
            shown, in_part = on_top(decode_rows(preview.rows), marks)
            rows.extend(shown)
            partial |= in_part
        if name:
            rows = [(value, item.embedded[name]) for value, item in rows if name in item.embedded]
        return Read(rows, len(items) + len(previews), partial)

    def read_visitors(self, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        sites = {site for site, _ in keys}
        with self._lock:
            previews = [decode_states(data) for (_, site), (_, data) in self.visitor_previews.items() if site in sites]
        return visitors_read(keys, self.load_visitors(keys).values(), previews)

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        with self._lock:
            chunks = list(self.timeline.get((site, session_id), {}).values())
            visitors = {chunk.visitor for chunk in chunks}
            if (named := visitor_of(site, session_id)) is not None:
                visitors.add(named)
        known = self.read_visitors([(site, visitor) for visitor in visitors])
        events = [pair for chunk in chunks for pair in chunk.events]
        tail = tail_of(known.rows, session_id)
        return Read(in_timeline_order([*events, *tail], limit), len(chunks) + known.items_read, known.partial)

    def read_watermarks(self) -> Read[Watermark]:
        with self._lock:
            rows = [self.watermarks[shard] for shard in sorted(self.watermarks)]
        return Read(rows, len(rows))

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        with self._lock:
            records = [self.dead_letters[mark] for mark in sorted(self.dead_letters) if mark > after]
        return [DeadLetterSummary(r.shard_id, r.mark, r.reason, r.arrived_at, len(r.data)) for r in records[:limit]]

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        with self._lock:
            return self.dead_letters.get(mark)

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        with self._lock:
            for mark in marks:
                self.dead_letters.pop(mark, None)

    def salt_of_day(self, day: int, candidate: bytes, expires_at: int) -> bytes:
        with self._lock:
            return self.salts.setdefault(day, candidate)

    def load_document(self, name: str) -> Document:
        with self._lock:
            return self.documents.get(name, Document())

    def save_document(self, name: str, document: Document) -> bool:
        with self._lock:
            if self.documents.get(name, Document()).version != document.version - 1:
                return False
            self.documents[name] = document
            return True

    def counted_days(self) -> set[tuple[str, int]]:
        with self._lock:
            return {(key.site, key.bucket) for _, key in self.counters if key.kind == "dimension"}
