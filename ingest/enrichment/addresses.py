"""IP addresses as text, the way libraries and tables want them. Nothing here keeps one."""

from __future__ import annotations

import socket

_MAPPED = bytes(10) + b"\xff\xff"


def bare_address(address: str) -> str:
    """Without zone, and IPv4 as such: servers that listen on both kinds at once write ``::ffff:192.0.2.1``."""
    if ":" not in address:
        return address
    address = address.partition("%")[0]
    head, _, tail = address.rpartition(":")
    return tail if "." in tail and head.lower() in {"::ffff", "0:0:0:0:0:ffff"} else address


def address_number(address: str) -> tuple[int, int]:
    """(version, number): the address as a whole number.

    Raises:
        ValueError: it is no address. The message does not hold the text.
    """
    address = bare_address(address)
    version, family = (6, socket.AF_INET6) if ":" in address else (4, socket.AF_INET)
    try:
        packed = socket.inet_pton(family, address)
    except (OSError, ValueError):
        # Without the cause, whose text may be the address.
        raise ValueError("no IP address") from None
    if packed.startswith(_MAPPED):
        version, packed = 4, packed[12:]
    return version, int.from_bytes(packed, "big")
