"""Language and country of a visitor, from what the browser or a trusted proxy says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_PRIMARY_TAG = re.compile(r"\s*([A-Za-z]{2,3})(?:[-_;,\s]|$)")
_COUNTRY = re.compile(r"[A-Z]{2}")
_COUNTRY_HEADERS = ("HTTP_CLOUDFRONT_VIEWER_COUNTRY", "HTTP_CF_IPCOUNTRY", "HTTP_X_VERCEL_IP_COUNTRY")
_UNKNOWN_COUNTRIES = frozenset({"XX", "ZZ"})


@lru_cache(maxsize=1024)
def primary_language(tags: str) -> str:
    """``de`` from ``de-AT``, or from the first entry of an Accept-Language header; empty when there is none."""
    found = _PRIMARY_TAG.match(tags)
    return found[1].lower() if found else ""


def country_of(environ: Mapping[str, object]) -> str:
    """The country that a content delivery network found, from a WSGI environment; only for trusted proxies."""
    for header in _COUNTRY_HEADERS:
        value = environ.get(header)
        if isinstance(value, str) and _COUNTRY.fullmatch(value) and value not in _UNKNOWN_COUNTRIES:
            return value
    return ""
