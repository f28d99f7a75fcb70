"""Rate limits: a token bucket per site and client address, and one per site.

In: a site, an address, the time. Out: seconds to wait; 0 accepts the event. A bucket holds a minute's events and fills
evenly. Promises: bounded memory, whatever addresses clients make up; addresses stay in memory only, while they are
active; about a microsecond a call. Each process counts for itself.

The algorithm is GCRA: a bucket is one number, the time at which it is full again. Known libraries read the clock
themselves, or keep every key until a timer removes it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address

from liveinsight.model.buckets import MINUTE_MS
from liveinsight.sites.site import Site

REMEMBERED_ADDRESSES = 50_000
"""The least recently active are forgotten first: their bucket is full again, or nearly."""


class Rates:
    """The buckets of one process. Thread safe."""

    def __init__(self, *, remembered: int = REMEMBERED_ADDRESSES) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._of_addresses: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._of_sites: dict[str, float] = {}

    @property
    def remembered_addresses(self) -> int:
        """The number of buckets."""
        return len(self._of_addresses)

    def wait(self, site: Site, address: str, now: int) -> float:
        """Seconds until the site accepts an event from the address; 0 accepts it now, and counts it."""
        if not site.address_rate and not site.site_rate:
            return 0.0
        with self._lock:
            key = (site.name, client_of(address))
            mine = _level(self._of_addresses.get(key, 0.0), now)
            everybody = _level(self._of_sites.get(site.name, 0.0), now)
            after = [
                level + MINUTE_MS / rate if rate else 0.0
                # Events of a server that gives no addresses are not those of one client.
                for level, rate in ((mine, site.address_rate if address else 0), (everybody, site.site_rate))
            ]
            over = max(after) - now - MINUTE_MS
            # A refused request refreshes the LRU position, so that a flood of other keys cannot evict the bucket.
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
    """When the bucket is full: not before now, and not later than an empty one, in case the clock was set back."""
    return min(max(full_at, now), now + MINUTE_MS)


@lru_cache(maxsize=4096)
def client_of(address: str) -> str:
    """The key of a client: its IPv4 address, or its IPv6 /64 network, which one client may use as a whole."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{int(parsed) >> 64:x}::/64"
