"""Normalised host names: lower case, ASCII (internationalised names in punycode), no trailing dot."""

from __future__ import annotations

import ipaddress
import re

import idna

MAX_HOST = 253
_ASCII_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def normal_host(host: str) -> str:
    """The normalised name, or the address without brackets; empty when it is invalid.

    Args:
        host: as `urllib.parse.SplitResult.hostname` gives it.
    """
    host = host.lower().removesuffix(".")
    if len(host) > MAX_HOST:
        return ""
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).compressed
        except ValueError:
            return ""
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            return ""
    return host if _ASCII_HOST.fullmatch(host) and len(host) <= MAX_HOST else ""
