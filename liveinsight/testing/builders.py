"""What tests need: a clock to turn by hand, an event with defaults, the in-memory store and stream."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from liveinsight.model.buckets import local_day_and_hour
from liveinsight.model.events import PAGE_VIEW, Event
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream

__all__ = ["NOON", "FakeClock", "MemoryStore", "MemoryStream", "an_event"]

NOON = 1_790_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000
"""12:00 UTC on an ordinary day, epoch ms."""


class FakeClock:
    """A `Clock` that stands still until told otherwise."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Let time pass."""
        self.now += round((seconds + 60 * minutes + 3600 * hours) * 1000)


def an_event(*, at: int = NOON, zone: str = "UTC", **changes: Any) -> Event:
    """A page view of visitor 1 on the default site; its id is that of its time, type and page unless given."""
    day, hour = local_day_and_hour(at, ZoneInfo(zone))
    event = Event(
        site="default", visitor=1, event_id=0, type=PAGE_VIEW, occurred_at=at, received_at=at,
        day=day, hour=hour, recent=True, page="/", page_url="https://example.com/",
    )  # fmt: skip
    event = msgspec.structs.replace(event, **changes)
    if not event.event_id:
        identity = repr((event.occurred_at, event.type, event.page, event.visitor, event.session_id)).encode()
        event = msgspec.structs.replace(event, event_id=int.from_bytes(blake2b(identity, digest_size=8).digest()) >> 1)
    return event
