"""Normalised URLs of pages and referrers. Pure; results are bounded in length, and normalising twice changes nothing.

    HTTPS://Shop.Example:443//a/./b/?utm_source=x&id=7#top   page /a/b      page_url https://shop.example/a/b
        the same, with `id` allowed                          page /a/b?id=7
    https://shop.example/#/cart?step=2                       page /#/cart   (applications that navigate by fragment)
    https://shop.example/order/4711, with /order/* grouped   page /order/:id

Query, fragment and user info may hold tokens and names: they are removed, except for query fields that a site allows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ingest.contract.limits import MAX_PAGE, MAX_PAGE_BYTES
from ingest.enrichment.hosts import normal_host
from ingest.enrichment.paths import allowed_query, bounded, fits, group_of, normal_path, normal_text

CACHED_URLS = 4096
LONGEST_CACHED = 512
"""Longer URLs are not cached, so that the caches stay below some 20 MB."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Page(NamedTuple):
    """A page's URL in its parts."""

    page: str
    """The dimension value: path, allowed query fields and fragment route; or the name of its group."""
    url: str
    """Scheme, host and `page` before grouping; without scheme and host if they were not given."""
    host: str
    query: str
    """As it was sent, for campaign fields. Never stored."""

    @property
    def path(self) -> str:
        """The path before grouping."""
        start = self.url.find("/", self.url.find("://") + 3) if self.host else 0
        return self.url[start:].partition("?")[0].partition("#")[0]


class Referrer(NamedTuple):
    """A referrer's URL in its parts."""

    url: str
    host: str


NO_PAGE = Page("", "", "", "")
NO_REFERRER = Referrer("", "")


def parse_page(url: str, query_allow: Collection[str] = (), path_groups: Sequence[tuple[str, str]] = ()) -> Page | None:
    """The parts of an http(s) URL or of a bare path; None for anything else.

    Args:
        url: as it was sent.
        query_allow: names of query fields that tell pages apart; ``*`` stands for all but tracking parameters.
        path_groups: (glob, name) pairs; the first glob that matches the path gives the page its name (see
            `paths.glob_pattern`).
    """
    allow, groups = tuple(query_allow), tuple(path_groups)
    if len(url) > LONGEST_CACHED:
        return _parse_page(url, allow, groups)
    return _cached_page(url, allow, groups)


def parse_referrer(url: str) -> Referrer:
    """The parts of a referrer. An invalid one is as none, so that the event is not lost."""
    return _parse_referrer(url) if len(url) > LONGEST_CACHED else _cached_referrer(url)


def _parse_page(url: str, allow: tuple[str, ...], groups: tuple[tuple[str, str], ...]) -> Page | None:
    if not url:
        return NO_PAGE
    if url.startswith("/"):
        # urlsplit would take the start of "//path" for a host.
        rest, _, fragment = url.partition("#")
        path, _, query = rest.partition("?")
        origin = host = ""
    else:
        parts = _split(url)
        host = normal_host(parts.hostname) if parts and parts.hostname else ""
        if parts is None or parts.scheme not in _DEFAULT_PORTS or not host:
            return None
        path, query, fragment = parts.path, parts.query, parts.fragment
        origin = _origin(parts, host)
    route = "#" + normal_text(fragment.partition("?")[0]) if fragment.startswith(("/", "!/")) else ""
    normal = bounded(normal_path(path), MAX_PAGE, MAX_PAGE_BYTES)
    named = normal + allowed_query(query, allow)
    # A truncated query or route would be another page: what does not fit is left out as a whole.
    page = next((whole for whole in (named + route, named) if fits(whole, MAX_PAGE, MAX_PAGE_BYTES)), normal)
    group = bounded(group_of(normal, groups), MAX_PAGE, MAX_PAGE_BYTES) if groups else ""
    return Page(group or page, origin + page, host, query)


_cached_page = lru_cache(maxsize=CACHED_URLS)(_parse_page)


def _parse_referrer(url: str) -> Referrer:
    parts = _split(url) if url else None
    if parts is None or parts.scheme not in {"http", "https", "android-app"} or not parts.hostname:
        return NO_REFERRER
    host = normal_host(parts.hostname)
    if not host:
        return NO_REFERRER
    path = bounded(normal_path(parts.path), MAX_PAGE, MAX_PAGE_BYTES) if parts.path else ""
    return Referrer(_origin(parts, host) + path, host.removeprefix("www."))


_cached_referrer = lru_cache(maxsize=CACHED_URLS)(_parse_referrer)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is the check
    except ValueError:
        return None
    # Brackets are for IPv6 addresses: the parser removes them without a check.
    return parts if ("[" in parts.netloc) == (":" in (parts.hostname or "")) else None


def _origin(parts: SplitResult, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    given = parts.port
    port = f":{given}" if given is not None and given != _DEFAULT_PORTS.get(parts.scheme) else ""
    return f"{parts.scheme}://{shown}{port}"
