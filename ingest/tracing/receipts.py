"""Receipts: the facts that a trace needs about an event, held by the client that sent it.

In: facts and an API key. Out: text for a URL, signed with the key: a changed receipt, or one of another key, is not
found. Nothing is stored. The facts are not encrypted: whoever sent the event may know them (site, pseudonymous visitor,
session id, times, place on the stream).
"""

from __future__ import annotations

import hashlib

import msgspec
from itsdangerous import BadData, URLSafeSerializer


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


def write_receipt(receipt: Receipt, key: str) -> str:
    """The receipt as text that fits into a URL."""
    return _serializer(key).dumps(msgspec.to_builtins(receipt))


def read_receipt(text: str, key: str) -> Receipt | None:
    """The receipt; None if it was not written with this key."""
    try:
        return msgspec.convert(_serializer(key).loads(text.encode("utf-8", "surrogatepass")), Receipt)
    except BadData:
        return None


def _serializer(key: str) -> URLSafeSerializer:
    # The version in the salt is that of the fields above.
    return URLSafeSerializer(
        key.encode("utf-8", "surrogatepass"), salt="receipt 1", signer_kwargs={"digest_method": hashlib.sha256}
    )
