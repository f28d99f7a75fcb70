"""Who a visitor is, and which event is which: 63-bit hashes.

A given user id is hashed with its site. Without one, the visitor is a keyed hash of site, client address and
user agent under a random salt of the UTC day the event happened on, and the address is forgotten. Salts live
for 48 hours from the start of their day; after that the hashes cannot be linked to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b

import msgspec

from ingest.pipeline.payload import Payload
from liveinsight.model.buckets import DAY_MS, quarter_of, utc_day_of_quarter
from liveinsight.model.events import Event
from liveinsight.model.ids import hash63
from liveinsight.storage.store import SaltStore

SALT_BYTES = 32

SaltOf = Callable[[int, int], bytes]
"""Gives the salt for an event, from when it occurred and when it was received."""

_encode = msgspec.msgpack.Encoder().encode
_EVENT = blake2b(digest_size=8, person=b"event")
_MADE_ID = re.compile("[0-9a-f]{16}")


class DailySalts:
    """The salts of the days in use. Thread safe: at worst the store is asked twice.

    The event's own day decides, not that of its arrival: an event sent again after midnight keeps its visitor, and
    so is recognised. Events are at most a day old, so their salt is always still there.
    """

    def __init__(self, store: SaltStore, new_salt: Callable[[], bytes]) -> None:
        self._store = store
        self._new_salt = new_salt
        self._salts: dict[int, bytes] = {}

    def __call__(self, occurred_at: int, received_at: int) -> bytes:
        day = occurred_at // DAY_MS
        salt = self._salts.get(day)
        if salt is None:
            salt = self._load(day)
            yesterday = received_at // DAY_MS - 1
            self._salts = {kept: value for kept, value in {**self._salts, day: salt}.items() if kept >= yesterday}
        return salt

    def _load(self, day: int) -> bytes:
        number = utc_day_of_quarter(quarter_of(day * DAY_MS))
        expires_at = (day + 2) * DAY_MS // 1000
        return self._store.salt_of_day(number, self._new_salt(), expires_at)


def cookieless_visitor(salt: bytes, site: str, client_address: str, user_agent: str) -> int:
    """The visitor that gives no id, for one day."""
    said = _encode((site, client_address, user_agent))
    return hash63(said, blake2b(digest_size=8, person=b"cookieless", key=salt))


def event_id(site: str, visitor: int, session_id: str, payload: Payload, received_at: int) -> int:
    """The event's identity: by its own id, or else by all that it says, so that an exact repeat counts once.

    Without an id and a timestamp nothing tells a repeat from a new event: each arrival is an event of its own.
    """
    if payload.id:
        return hash63(_encode((site, payload.id)), _EVENT)
    said = (
        site,
        visitor,
        session_id,
        payload.event_type,
        received_at if payload.timestamp is None else payload.timestamp,
        payload.page_url,
        payload.element_tag,
        payload.element_id,
        payload.element_class,
        payload.element_text,
        payload.conversion_type,
        str(payload.revenue),
        str(payload.props),
    )
    # As text: numbers from outside may be larger than msgpack takes.
    return hash63(repr(said).encode("utf-8", "surrogatepass"), _EVENT)


def made_id(event: Event) -> str:
    """The id of an event that came without one: the same for an exact repeat."""
    return f"{event.event_id:016x}"


def hashes_of_id(site: str, given: str) -> set[int]:
    """What an event's id, its own or a made one, can have become in the record."""
    hashes = {hash63(_encode((site, given)), _EVENT)}
    if _MADE_ID.fullmatch(given):
        hashes.add(int(given, 16))
    return hashes
