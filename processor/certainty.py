"""Which events are surely in the counters, and which counters may still change.

In: records and the worker's watermarks. Out: their events, and the counters that cannot be judged yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from liveinsight.buckets import quarter_of
from liveinsight.errors import UndecodableRecord
from liveinsight.events import Event, decode_record
from liveinsight.store import ReadStore, Watermark
from processor.comparison import Key, settles_with
from processor.naive import Recount, RowKey, TotalsKey
from processor.whole_stream import KeptRecord

WATERMARK_POLL_SECONDS = 0.2


@dataclass
class Decoded:
    """Events in the order of the stream; the `uncertain` ones may not be counted yet."""

    events: list[Event] = field(default_factory=list)
    uncertain: list[Event] = field(default_factory=list)
    uncertain_since: int = 0
    undecodable: int = 0

    def add(self, kept: KeptRecord, *, counted: bool) -> None:
        """Take one record's events."""
        try:
            events = decode_record(kept.record.data)
        except UndecodableRecord:
            self.undecodable += 1
            return
        self.events.extend(events)
        if not counted:
            self.uncertain.extend(events)
            self.uncertain_since = min(self.uncertain_since or kept.record.arrived_at, kept.record.arrived_at)


def is_counted(kept: KeptRecord, watermarks: dict[str, Watermark]) -> bool:
    """Whether a watermark says that a record is in the counters."""
    mark = watermarks.get(kept.shard_id)
    if mark is None or mark.incarnation < kept.incarnation:
        return False
    return mark.closed or mark.incarnation > kept.incarnation or kept.record.arrived_at < mark.as_of


def wait_for_watermarks(
    store: ReadStore, records: list[KeptRecord], seconds: float, sleep: Callable[[float], object] = time.sleep
) -> dict[str, Watermark]:
    """The watermarks, as soon as all records are counted, or after `seconds`."""
    last = {(kept.incarnation, kept.shard_id): kept for kept in records}
    waited = 0.0
    while True:
        watermarks = {mark.shard_id: mark for mark in store.read_watermarks().rows}
        if all(is_counted(kept, watermarks) for kept in last.values()) or waited >= seconds:
            return watermarks
        sleep(WATERMARK_POLL_SECONDS)
        waited += WATERMARK_POLL_SECONDS


def unsettled_keys(recounted: Recount, uncertain: list[Event]) -> set[Key]:
    """The counters that uncertain events may change: where they happened, and wherever their visits have been."""
    wanted = {id(event) for event in uncertain}
    touched = list(uncertain)
    for visit in recounted.visits if wanted else ():
        if any(id(event) in wanted for event in visit):
            touched.extend(visit)
    keys: set[Key] = set()
    for event in touched:
        keys.add(TotalsKey(event.site, quarter_of(event.occurred_at)))
        keys.add(settles_with(RowKey(event.site, event.day, "", "")))
    return keys
