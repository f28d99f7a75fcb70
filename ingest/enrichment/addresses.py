"""IP addresses: from text to the forms that libraries and tables take. Nothing here keeps one."""

from __future__ import annotations

import socket

_MAPPED = bytes(10) + b"\xff\xff"


def bare_address(address: str) -> str:
    """The address without its zone, and an IPv4-mapped one as IPv4: dual-stack servers give ``::ffff:192.0.2.1``."""
    if ":" not in address:
        return address
    address = address.partition("%")[0]
    head, _, tail = address.rpartition(":")
    return tail if "." in tail and head.lower() in {"::ffff", "0:0:0:0:0:ffff"} else address


def address_number(address: str) -> tuple[int, int]:
    """(version, number): the address as a whole number.

    Raises:
        ValueError: the text is no address. The message does not contain it.
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
