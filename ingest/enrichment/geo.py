"""Language, country and region of a visitor.

In: the browser's languages, a trusted proxy's headers, and the client address. Out: a language and a `Place`. A region
is a code of ISO 3166-2 (``DE-BE``), or country and name (``DE-Berlin``) where only names are known. An address is in no
cache, no error and no log line.
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


class GeoDatabase(Protocol):
    """Finds the place of an address."""

    def place_of(self, address: str) -> Place:
        """The place of an address; `NOWHERE` for private and invalid ones."""


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
    """The place in headers of a content delivery network, from a WSGI environment; only behind trusted proxies."""
    for country_header, region_header in _HEADERS:
        if country_header in environ:
            place = _place(environ[country_header], environ.get(region_header))
            if place.country:
                return place
    return NOWHERE


class RegistryDatabase:
    """Countries from the published lists of the five internet registries, from the package ``iptocc``.

    The lists have the country to which a block of addresses is assigned. Mostly it is used there.
    """

    def place_of(self, address: str) -> Place:
        """See `GeoDatabase`."""
        return _place(iptocc.country_code(bare_address(address)))


class MmdbDatabase:
    """Countries and regions from a file in MaxMind's format (MMDB), such as DB-IP Lite or GeoLite2.

    Raises:
        SettingsError: the file is missing or not such a database.
    """

    def __init__(self, path: Path) -> None:
        try:
            # In memory: replacing a mapped file would crash the process.
            self._database = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise SettingsError(f"LIVEINSIGHT_GEO_DB={str(path)!r} is no MMDB database: {error}") from error

    def place_of(self, address: str) -> Place:
        """See `GeoDatabase`."""
        try:
            found: Any = self._database.get(bare_address(address))
        except (ValueError, maxminddb.InvalidDatabaseError):
            # An invalid address, IPv6 in a database of IPv4 only, or a damaged entry.
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


def open_geo_database(database: str) -> GeoDatabase | None:
    """The database that the setting names: a file, `NO_DATABASE`, or empty for the lists of the registries.

    Raises:
        SettingsError: the file cannot be used.
    """
    if database == NO_DATABASE:
        return None
    return MmdbDatabase(Path(database)) if database else RegistryDatabase()


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
