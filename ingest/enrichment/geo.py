"""Language, country and region of a visitor: from what the browser says, a trusted proxy has found, or the address is.

A region is a country's code with the part of it, as ISO 3166-2 has it: ``DE-BE``; ``DE-Berlin`` where only names are
known. An address comes in and only a place goes out: it is in no cache, no error and no log line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import iptocc
import maxminddb

from ingest.contract.text import clean_phrase
from ingest.enrichment.addresses import bare_address
from liveinsight.model.errors import SettingsError

NO_DATABASE = "off"
MAX_REGION = 60


class Place(NamedTuple):
    """Empty strings stand for unknown."""

    country: str = ""
    region: str = ""


NOWHERE = Place()


class Atlas(Protocol):
    """Knows where addresses are."""

    def place_of(self, address: str) -> Place:
        """Where an address is; `NOWHERE` for private ones and for what is no address."""


_PRIMARY_TAG = re.compile(r"\s*([A-Za-z]{2,3})(?:[-_;,\s]|$)")
_COUNTRY = re.compile(r"[A-Z]{2}")
_REGION = re.compile(r"[A-Z0-9]{1,3}")
_UNKNOWN_COUNTRIES = frozenset({"AP", "EU", "XX", "ZZ"})
_HEADERS = (
    ("HTTP_CLOUDFRONT_VIEWER_COUNTRY", "HTTP_CLOUDFRONT_VIEWER_COUNTRY_REGION"),
    ("HTTP_CF_IPCOUNTRY", "HTTP_CF_REGION_CODE"),
    ("HTTP_X_VERCEL_IP_COUNTRY", "HTTP_X_VERCEL_IP_COUNTRY_REGION"),
    ("HTTP_X_APPENGINE_COUNTRY", "HTTP_X_APPENGINE_REGION"),
)
"""Country and region as CloudFront, Cloudflare, Vercel and App Engine send them, under their WSGI names."""


@lru_cache(maxsize=1024)
def primary_language(tags: str) -> str:
    """``de`` from ``de-AT``, or from the first entry of an Accept-Language header; empty when there is none."""
    found = _PRIMARY_TAG.match(tags)
    return found[1].lower() if found else ""


def place_of_headers(environ: Mapping[str, object]) -> Place:
    """The place that a content delivery network found, from a WSGI environment; only for trusted proxies."""
    for country_header, region_header in _HEADERS:
        if country_header in environ:
            place = _place(environ[country_header], environ.get(region_header))
            if place.country:
                return place
    return NOWHERE


class RegistryAtlas:
    """Countries from the published lists of the five internet registries, which come with the package ``iptocc``.

    They say to which country a block of addresses was given, which is mostly where it is used.
    """

    def place_of(self, address: str) -> Place:
        """See `Atlas`."""
        return _place(iptocc.country_code(bare_address(address)))


class DatabaseAtlas:
    """Countries and regions from a file in MaxMind's format (MMDB), such as DB-IP Lite or GeoLite2.

    Raises:
        SettingsError: the file is missing or is no such database.
    """

    def __init__(self, path: Path) -> None:
        try:
            # All of it in memory: a file that is replaced while it is mapped takes the process down with it.
            self._database = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise SettingsError(f"LIVEINSIGHT_GEO_DB={str(path)!r} is no MMDB database: {error}") from error

    def place_of(self, address: str) -> Place:
        """See `Atlas`."""
        try:
            found: Any = self._database.get(bare_address(address))
        except (ValueError, maxminddb.InvalidDatabaseError):
            # No address, one of IPv6 in a database of IPv4 only, or a damaged entry.
            return NOWHERE
        if not isinstance(found, dict):
            return NOWHERE
        # The older spelling of some free databases: {"country_code": "DE"} or {"country": "DE"}.
        country = found.get("country", found.get("country_code"))
        parts = found.get("subdivisions")
        region = parts[0] if isinstance(parts, list) and parts else None
        place = _place(_code(country), _code(region))
        if place.country and not place.region and isinstance(region, dict):
            return Place(place.country, _named(place.country, region.get("names")))
        return place


def open_atlas(database: str) -> Atlas | None:
    """The atlas that the setting names: a file, `NO_DATABASE`, or empty for the lists of the registries.

    Raises:
        SettingsError: the file cannot be used.
    """
    if database == NO_DATABASE:
        return None
    return DatabaseAtlas(Path(database)) if database else RegistryAtlas()


def _code(entry: object) -> object:
    return entry.get("iso_code") if isinstance(entry, dict) else entry


def _named(country: str, names: object) -> str:
    # DB-IP Lite has names only.
    name = names.get("en") if isinstance(names, dict) else None
    return f"{country}-{clean_phrase(name, MAX_REGION)}" if isinstance(name, str) and name else ""


def _place(country: object, region: object = None) -> Place:
    if not isinstance(country, str) or not _COUNTRY.fullmatch(country) or country in _UNKNOWN_COUNTRIES:
        return NOWHERE
    if not isinstance(region, str) or not region:
        return Place(country)
    part = region.upper().removeprefix(country + "-")
    return Place(country, f"{country}-{part}" if _REGION.fullmatch(part) else "")
