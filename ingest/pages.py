"""URLs: what is kept of them. Query, fragment and user info are never stored: they carry tokens and names.

    https://Shop.Example//a/b/?x=1#top   page /a/b      page_url https://shop.example//a/b/
    https://shop.example/#/cart?step=2   page /#/cart   (routes of applications that navigate by fragment)

Percent-encoding is left as the browser wrote it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ingest.limits import MAX_PAGE

_SLASHES = re.compile("/{2,}")
# Brackets and colons are those of IPv6 addresses; letters may be of any script.
_HOST = re.compile(r"[\w.:-]+")


class Page(NamedTuple):
    """A page's URL in its parts."""

    page: str
    """Normalised path: what page views are counted by."""
    url: str
    """Scheme, host and path; only the path when no more was given."""
    host: str
    query: str


class Referrer(NamedTuple):
    """Where the visitor came from."""

    url: str
    host: str


NO_PAGE = Page("", "", "", "")
NO_REFERRER = Referrer("", "")


@lru_cache(maxsize=8192)
def parse_page(url: str) -> Page | None:
    """The parts of an http(s) URL or of a bare path; None for anything else."""
    if not url:
        return NO_PAGE
    if url.startswith("/"):
        # urlsplit would take the start of "//path" for a host.
        rest, _, fragment = url.partition("#")
        path, _, query = rest.partition("?")
        return Page(_normalise(path, fragment), path, "", query)
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    path = parts.path or "/"
    return Page(_normalise(path, parts.fragment), _stored(parts, path), parts.hostname, parts.query)


@lru_cache(maxsize=8192)
def parse_referrer(url: str) -> Referrer:
    """The parts of a referrer. One that cannot be understood is as none: it is not worth losing the event."""
    parts = _split(url) if url else None
    if parts is None or parts.scheme not in {"http", "https", "android-app"} or not parts.hostname:
        return NO_REFERRER
    return Referrer(_stored(parts, parts.path), parts.hostname.removeprefix("www.").rstrip("."))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is the check
    except ValueError:
        return None
    return parts if _HOST.fullmatch(parts.hostname or "") else None


def _stored(parts: SplitResult, path: str) -> str:
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}{path}"


def _normalise(path: str, fragment: str) -> str:
    page = _SLASHES.sub("/", path)
    if len(page) > 1:
        page = page.removesuffix("/")
    if fragment.startswith(("/", "!/")):
        page += "#" + fragment.partition("?")[0]
    return page[:MAX_PAGE]
