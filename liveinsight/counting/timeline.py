"""The timeline of a session: its events with their marks, reduced to what is shown.

The latest events wait in the visitor's state (`VisitorState.tail`); older ones are in chunks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from liveinsight.counting.compression import compress, decompress
from liveinsight.model.events import Element, Event, PropertyValue


class TimelineEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The fields of an `Event` that a timeline keeps. Append only, with a default."""

    type: str
    occurred_at: int
    received_at: int
    event_id: int
    page_url: str = ""
    title: str = ""
    user_id: str = ""
    referrer: str = ""
    language: str = ""
    screen_width: int = 0
    engaged_ms: int = 0
    scroll_percent: int = 0
    conversion_type: str = ""
    revenue: int = 0
    currency: str = ""
    element: Element | None = None
    props: dict[str, PropertyValue] | None = None


Marked = tuple[str, TimelineEvent]
"""(mark, event)."""
Waiting = tuple[str, str, TimelineEvent]
"""(session id, mark, event): an event in a visitor's state that is in no chunk yet."""


def timeline_event(event: Event) -> TimelineEvent:
    """The timeline's form of `event`."""
    return TimelineEvent(
        event.type,
        event.occurred_at,
        event.received_at,
        event.event_id,
        event.page_url,
        event.title,
        event.user_id,
        event.referrer,
        event.language,
        event.screen_width,
        event.engaged_ms,
        event.scroll_percent,
        event.conversion_type,
        event.revenue,
        event.currency,
        event.element,
        event.props,
    )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Marked])
_waiting_decoder = msgspec.msgpack.Decoder(Waiting)


def pack_waiting(session_id: str, mark: str, event: Event) -> msgspec.Raw:
    """An event as a state holds it: encoded, since states are read and written often and their events seldom."""
    return repack_waiting((session_id, mark, timeline_event(event)))


def repack_waiting(waiting: Waiting) -> msgspec.Raw:
    """Inverse of `unpack_waiting`, for one."""
    return msgspec.Raw(_encoder.encode(waiting))


def unpack_waiting(packed: Iterable[msgspec.Raw]) -> list[Waiting]:
    """Inverse of `pack_waiting`, for many."""
    return [_waiting_decoder.decode(one) for one in packed]


def encode_timeline(events: Sequence[Marked]) -> bytes:
    """The stored form of a chunk."""
    return compress(_encoder.encode(events))


def decode_timeline(data: bytes) -> list[Marked]:
    """Inverse of `encode_timeline`."""
    return _decoder.decode(decompress(data))


def in_timeline_order(marked: Iterable[Marked], limit: int) -> list[Marked]:
    """Events of a session by time, each mark once."""
    unique = dict(marked)
    return sorted(unique.items(), key=lambda pair: (pair[1].occurred_at, pair[0]))[:limit]
