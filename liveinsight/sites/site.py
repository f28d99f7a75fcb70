"""A site and its rules, and the list of sites. Pure.

In: fields that an operator has set (see `liveinsight.sites.rules`). Out: whether an origin, an address or a key is
accepted. What follows from a rule is computed once per site.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import DEFAULT_GAP_MINUTES

ANY_ORIGIN = "*"
DEFAULT_MAX_VALUES = 2000

_SUBDOMAINS = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")


class DoNotTrackPolicy(StrEnum):
    """How visitors who ask not to be tracked (DNT or Global Privacy Control) are treated."""

    OFF = "off"
    """Counted like all others."""
    ANONYMOUS = "anonymous"
    """Counted without the page's ids: as an anonymous visitor, not linkable across days."""
    DROP = "drop"
    """Not counted, except in the drop ledger."""


class Bots(StrEnum):
    """How bots and headless browsers are treated."""

    DROP = "drop"
    COUNT = "count"


class ApiKey(msgspec.Struct, frozen=True):
    """A key for events from servers. Only the hash of the whole key is stored."""

    id: str
    name: str
    digest: str
    created_at: int


class Site(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """A site. `liveinsight site edit --help` says what the fields mean; rates are events a minute, 0 for no limit."""

    name: str
    time_zone: str = "UTC"
    origins: tuple[str, ...] = (ANY_ORIGIN,)
    session_gap: int = DEFAULT_GAP_MINUTES
    excluded_paths: tuple[str, ...] = ()
    excluded_addresses: tuple[str, ...] = ()
    address_rate: int = 0
    site_rate: int = 0
    max_values: int = DEFAULT_MAX_VALUES
    do_not_track: DoNotTrackPolicy = DoNotTrackPolicy.ANONYMOUS
    bots: Bots = Bots.DROP
    query_allow: tuple[str, ...] = ()
    path_groups: tuple[tuple[str, str], ...] = ()
    """(glob, replacement), the first that fits."""
    keys: tuple[ApiKey, ...] = ()

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of its days."""
        return ZoneInfo(self.time_zone)

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of an origin may send events; "" (not sent by a browser) is always allowed."""
        if not origin or self._any_origin:
            return True
        origin = origin.lower()
        return origin in self._exact_origins or any(
            origin.startswith(scheme)
            and origin.endswith(domain)
            and _SUBDOMAINS.fullmatch(origin, len(scheme), len(origin) - len(domain)) is not None
            for scheme, domain in self._wildcard_origins
        )

    def excludes_address(self, address: str) -> bool:
        """Whether events from an address are not counted."""
        if not self.excluded_addresses:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address):
            # A dual-stack server writes IPv4 addresses as mapped IPv6.
            parsed = parsed.ipv4_mapped or parsed
        number, version = int(parsed), parsed.version
        return any(
            version == network_version and number & mask == network
            for network_version, mask, network in self._excluded_networks
        )

    def accepts_key(self, key: str) -> bool:
        """Whether a key for events from servers is one of the site's."""
        digest = key_digest(key)
        # Compare with every key, so that the time reveals nothing.
        return sum(hmac.compare_digest(digest, known.digest) for known in self.keys) > 0

    @cached_property
    def _any_origin(self) -> bool:
        return ANY_ORIGIN in self.origins

    @cached_property
    def _exact_origins(self) -> frozenset[str]:
        return frozenset(self.origins)

    @cached_property
    def _wildcard_origins(self) -> list[tuple[str, str]]:
        found = []
        for origin in self.origins:
            scheme, separator, domain = origin.partition("://*.")
            if separator:
                found.append((scheme + "://", "." + domain))
        return found

    @cached_property
    def _excluded_networks(self) -> list[tuple[int, int, int]]:
        networks = [ip_network(text) for text in self.excluded_addresses]
        return [(network.version, int(network.netmask), int(network.network_address)) for network in networks]


class Sites(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """All sites at one moment.

    Args:
        sites: in the order in which they were added.
        default: name of the site of events that name none; "" when there is none.
        removed: names of removed sites, which `create_missing` does not create again.
    """

    sites: tuple[Site, ...] = ()
    default: str = ""
    removed: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Site]:
        """The sites by name."""
        return {site.name: site for site in self.sites}

    @cached_property
    def zones(self) -> dict[str, ZoneInfo]:
        """Time zones by site, the default site first."""
        names = sorted(self.by_name, key=lambda name: name != self.default)
        return {name: self.by_name[name].zone for name in names}

    @property
    def longest_gap(self) -> int:
        """The longest session gap of any site, in minutes."""
        return max([DEFAULT_GAP_MINUTES, *(site.session_gap for site in self.sites)])

    def with_site(self, changed: Site) -> Sites:
        """The sites, with the site of the same name replaced."""
        sites = tuple(changed if site.name == changed.name else site for site in self.sites)
        return msgspec.structs.replace(self, sites=sites)

    def find(self, name: str | None) -> Site | None:
        """The named site, or the default one without a name; None if there is no such site."""
        return self.by_name.get(name or self.default)


def key_digest(key: str) -> str:
    """The stored hash of a key. Keys are long and random, so a plain hash is safe against guessing."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def plain_sites(zones: Mapping[str, ZoneInfo]) -> Sites:
    """Sites without rules, from their time zones; the first is the default."""
    sites = tuple(Site(name=name, time_zone=zone.key) for name, zone in zones.items())
    return Sites(sites=sites, default=next(iter(zones), ""))


def encode_sites(sites: Sites) -> str:
    """All sites as text."""
    return msgspec.json.encode(sites).decode()


def decode_sites(text: str) -> Sites:
    """Inverse of `encode_sites`; checks that every time zone is known.

    Raises:
        LiveInsightError: another release wrote the text, or a time zone is not known on this machine.
    """
    try:
        sites = msgspec.json.decode(text, type=Sites)
    except msgspec.DecodeError as error:
        raise LiveInsightError(f"the list of sites cannot be read: {error}") from error
    for site in sites.sites:
        try:
            site.zone  # noqa: B018  # reading it is the check
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise LiveInsightError(f"site {site.name}: time zone {site.time_zone} is not known here") from error
    return sites
