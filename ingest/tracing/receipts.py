"""Receipts: what a trace needs to know about an event, in the hands of the one who sent it.

Nothing is stored when a receipt is given. It is the facts, packed, with a seal made from the sender's API key: who
changes a letter, or has another key, is told that there is no such receipt. The facts are not encrypted: whoever sent
the event may know them (site, pseudonymous visitor, session id, times, place on the stream).
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest

import msgspec

_VERSION = b"\x01"
_SEAL_BYTES = 16


class Receipt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Facts about one event. Times are epoch ms; `acknowledged_at` is when the stream had it, by ingest's clock.

    Where `reason` is not empty the event was dropped for it, and there is no place on the stream.
    """

    site: str
    received_at: int
    reason: str = ""
    visitor: int = 0
    event_id: int = 0
    session_id: str = ""
    occurred_at: int = 0
    acknowledged_at: int = 0
    shard_id: str = ""
    sequence_number: str = ""
    index: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Receipt)


def write_receipt(receipt: Receipt, key: str) -> str:
    """The receipt as text that fits into a URL."""
    facts = _VERSION + _encode(receipt)
    return urlsafe_b64encode(_seal(facts, key) + facts).rstrip(b"=").decode()


def read_receipt(text: str, key: str) -> Receipt | None:
    """The receipt; None if it was not written with this key."""
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    seal, facts = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
    if not compare_digest(seal, _seal(facts, key)) or facts[:1] != _VERSION:
        return None
    return _decoder.decode(facts[1:])


def _seal(facts: bytes, key: str) -> bytes:
    # A key of any length becomes one that the hash takes.
    secret = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32, person=b"receipt key").digest()
    return blake2b(facts, key=secret, digest_size=_SEAL_BYTES, person=b"receipt").digest()
