"""The event, and the record that carries events over the stream.

An `Event` is valid by construction: ingest made it from a payload, with everything decided that needs
the outside world (user agent, source, bot verdict, local day). Records are
``b"LI" + version byte + msgpack array of events``; events of one virtual bucket may share a record.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from liveinsight.model.errors import UndecodableRecord

MAGIC = b"LI"
VERSION = 1
_HEADER = MAGIC + bytes([VERSION])

DEFAULT_GAP_MINUTES = 30
"""Minutes without activity that end a session, unless the site has its own gap."""
VIRTUAL_BUCKETS = 256
"""Partition keys in use. A visitor's events share one, so they stay in order and a split never divides them."""

PAGE_VIEW = "page_view"
CLICK = "click"
CONVERSION = "conversion"
PAGE_EXIT = "page_exit"
HEARTBEAT = "heartbeat"
ENGAGEMENT = "engagement"
LEDGER = "$ledger"
"""Made by ingest: the number of events that it refused or dropped, in `props` by reason."""

PropertyValue = str | int | float | bool | None


class Element(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was clicked."""

    tag: str = ""
    id: str = ""
    classes: str = ""
    text: str = ""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One valid fact from a browser. The field order is the wire format: append only, with a default.

    Times are epoch milliseconds; `visitor` and `event_id` are 63-bit hashes; `day` (yyyymmdd) and
    `hour` (0..23) are those of `occurred_at` in the site's time zone; `recent` says that the event was
    young enough on arrival to count as live; `revenue` is in minor units of `currency`; more than `gap_minutes`
    without activity end a session.
    """

    site: str
    visitor: int
    event_id: int
    type: str
    occurred_at: int
    received_at: int
    day: int
    hour: int
    recent: bool
    session_id: str = ""
    user_id: str = ""
    page: str = ""
    page_url: str = ""
    title: str = ""
    referrer: str = ""
    source: str = ""
    channel: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""
    country: str = ""
    device: str = ""
    browser: str = ""
    os: str = ""
    language: str = ""
    conversion_type: str = ""
    revenue: int = 0
    currency: str = ""
    engaged_ms: int = 0
    scroll_percent: int = 0
    screen_width: int = 0
    element: Element | None = None
    props: dict[str, PropertyValue] | None = None
    gap_minutes: int = DEFAULT_GAP_MINUTES
    region: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Event])
_KEYS = tuple(f"b{bucket:03d}" for bucket in range(VIRTUAL_BUCKETS))


def partition_key(visitor: int) -> str:
    """The stream's partition key: one of `VIRTUAL_BUCKETS` names."""
    return _KEYS[visitor % VIRTUAL_BUCKETS]


def encode_record(events: Sequence[Event] | Sequence[msgspec.Raw]) -> bytes:
    """The record that carries `events`, in order; they may be packed already."""
    return _HEADER + _encoder.encode(events)


def pack_event(event: Event) -> bytes:
    """An event as it stands in a record."""
    return _encoder.encode(event)


def decode_record(data: bytes) -> list[Event]:
    """The events of a record, in order.

    Raises:
        UndecodableRecord: with reason ``not_ours``, ``unknown_version`` or ``damaged``.
    """
    if data[:2] != MAGIC:
        raise UndecodableRecord("not_ours", "the record does not start with the magic bytes LI")
    if data[2:3] != _HEADER[2:]:
        raise UndecodableRecord("unknown_version", f"this worker reads version {VERSION} only")
    try:
        return _decoder.decode(memoryview(data)[3:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UndecodableRecord("damaged", str(error)) from error
