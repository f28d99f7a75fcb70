"""Rate limits: a token bucket per site and client address, and one per site.

In: a site, an address, the time. Out: how long to wait, 0 when the event may come in. Each bucket holds what comes in
within a minute, and fills evenly. Promises: memory is bounded, whatever addresses are made up; addresses are kept in
memory only, while they are active; it costs about a microsecond. Each process counts for itself.

A bucket is one number: the time at which it will be full again. The libraries that were looked at read the time
themselves, or keep every key they ever saw until a timer takes it out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address

from liveinsight.model.buckets import MINUTE_MS
from liveinsight.sites.site import Site

REMEMBERED_ADDRESSES = 50_000
"""Those that were silent for longest are forgotten first: their bucket is full again, or nearly."""


class Rates:
    """The buckets of one process. Thread safe."""

    def __init__(self, *, remembered: int = REMEMBERED_ADDRESSES) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._of_addresses: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._of_sites: dict[str, float] = {}

    @property
    def remembered_addresses(self) -> int:
        """How many there are now."""
        return len(self._of_addresses)

    def wait(self, site: Site, address: str, now: int) -> float:
        """Seconds until the site takes an event from the address; 0 takes it."""
        if not site.address_rate and not site.site_rate:
            return 0.0
        with self._lock:
            key = (site.name, client_of(address))
            mine = _level(self._of_addresses.get(key, 0.0), now)
            everybody = _level(self._of_sites.get(site.name, 0.0), now)
            after = [
                level + MINUTE_MS / rate if rate else 0.0
                # A server that gives no address with its events is not one client with too many of them.
                for level, rate in ((mine, site.address_rate if address else 0), (everybody, site.site_rate))
            ]
            over = max(after) - now - MINUTE_MS
            # What is refused takes nothing out, but counts as active: a flood from elsewhere does not set it free.
            self._keep(key, site, *((mine, everybody) if over > 0 else after))
            return max(0.0, over / 1000)

    def _keep(self, key: tuple[str, str], site: Site, mine: float, everybody: float) -> None:
        if site.address_rate:
            self._of_addresses[key] = mine
            self._of_addresses.move_to_end(key)
            if len(self._of_addresses) > self._remembered:
                self._of_addresses.popitem(last=False)
        if site.site_rate:
            self._of_sites[site.name] = everybody


def _level(full_at: float, now: int) -> float:
    """When the bucket will be full: now if it has been since, and never later than an empty one would be.

    The latter matters if the clock was set back.
    """
    return min(max(full_at, now), now + MINUTE_MS)


@lru_cache(maxsize=4096)
def client_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network that one IPv6 client has all addresses of."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{int(parsed) >> 64:x}::/64"
