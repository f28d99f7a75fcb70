"""Which events are certainly counted, and which counters may still change.

In: records and the watermarks of the worker. Out: their events, and the counters that are not settled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from liveinsight.model.buckets import quarter_of
from liveinsight.model.errors import UndecodableRecord
from liveinsight.model.events import Event, decode_record
from liveinsight.settings import Settings
from liveinsight.storage.store import Watermark
from processor.verify.comparison import Key, settles_with
from processor.verify.reference_count import ReferenceCount, RowKey, TotalsKey
from processor.verify.stream_reader import KeptRecord

WATERMARK_POLL_SECONDS = 0.2
FLUSH_SECONDS = 15.0
"""More than a full flush takes."""
QUIET_SECONDS = 10.0


@dataclass
class Decoded:
    """Events in the order of the stream. The `unsettled` ones may not be counted yet."""

    events: list[Event] = field(default_factory=list)
    unsettled: list[Event] = field(default_factory=list)
    unsettled_since: int = 0
    undecodable: int = 0

    def add(self, kept: KeptRecord, *, counted: bool) -> None:
        """Add the events of a record."""
        try:
            events = decode_record(kept.record.data)
        except UndecodableRecord:
            self.undecodable += 1
            return
        self.events.extend(events)
        if not counted:
            self.unsettled.extend(events)
            self.unsettled_since = min(self.unsettled_since or kept.record.arrived_at, kept.record.arrived_at)


def is_counted(kept: KeptRecord, watermarks: dict[str, Watermark]) -> bool:
    """Whether a record is counted, according to the watermarks."""
    mark = watermarks.get(kept.shard_id)
    if mark is None or mark.incarnation < kept.incarnation:
        return False
    return mark.closed or mark.incarnation > kept.incarnation or kept.record.arrived_at < mark.as_of


class WaitLimits(NamedTuple):
    """How long to wait for a worker, in seconds."""

    longest: float
    quiet: float
    """A worker that moves no watermark for so long is not running."""

    @classmethod
    def with_cadence(cls, settings: Settings) -> WaitLimits:
        """Until the next full flush and a little longer. A running worker moves a watermark with each preview."""
        return cls(settings.sessions_interval + FLUSH_SECONDS, max(QUIET_SECONDS, 2 * settings.previews_interval))


def wait_for_watermarks(
    read: Callable[[], list[Watermark]],
    enough: Callable[[list[Watermark]], bool],
    limits: WaitLimits,
    sleep: Callable[[float], object] = time.sleep,
) -> list[Watermark]:
    """The watermarks, once they are `enough`, have stopped moving, or the longest wait is over."""
    waited = moved = 0.0
    before: list[Watermark] = []
    while True:
        watermarks = read()
        if watermarks != before:
            before, moved = watermarks, waited
        if enough(watermarks) or waited >= limits.longest or waited - moved >= limits.quiet:
            return watermarks
        sleep(WATERMARK_POLL_SECONDS)
        waited += WATERMARK_POLL_SECONDS


def unsettled_keys(recounted: ReferenceCount, unsettled: list[Event]) -> set[Key]:
    """The counters that unsettled events may change: their own, and those of their visits."""
    wanted = {id(event) for event in unsettled}
    touched = list(unsettled)
    for visit in recounted.visits if wanted else ():
        if any(id(event) in wanted for event in visit):
            touched.extend(visit)
    keys: set[Key] = set()
    for event in touched:
        keys.add(TotalsKey(event.site, quarter_of(event.occurred_at)))
        keys.add(settles_with(RowKey(event.site, event.day, "", "")))
    return keys
