"""How a visitor came to a page: the page, the referrer, and what both say about source, channel and campaign.

All of it follows from two texts and the rules of a site, and both texts repeat: so it is worked out once for each pair.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from msgspec import Struct

from ingest.contract.limits import MAX_URL
from ingest.contract.text import clean
from ingest.enrichment.attribution import attribute, own_hosts
from ingest.enrichment.pages import Page, parse_page, parse_referrer
from liveinsight.sites.site import Site

CACHED_ARRIVALS = 8192
LONGEST_CACHED = 512
"""Characters of both texts; longer ones are worked out each time, so that the cache stays below some 10 MB."""


# Compared by identity, which costs nothing: equal rules are one object (see `url_rules`).
@dataclass(frozen=True, eq=False, slots=True)
class UrlRules:
    """A site's URL rules, read by `pages.parse_page` and `attribution.attribute`."""

    query_allow: tuple[str, ...]
    path_groups: tuple[tuple[str, str], ...]
    own_hosts: frozenset[str]


class Arrival(Struct, frozen=True, gc=False):
    """A page and the way to it, with what an event keeps of them. Empty where there is nothing."""

    page: Page
    name: str
    """What page views are counted by."""
    url: str
    referrer: str
    source: str
    channel: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_term: str
    utm_content: str


def url_rules(site: Site) -> UrlRules:
    """The rules of a site, the same object for equal ones."""
    return _url_rules(site.query_allow, site.path_groups, site.origins)


@lru_cache(maxsize=1024)
def _url_rules(
    query_allow: tuple[str, ...], path_groups: tuple[tuple[str, str], ...], origins: tuple[str, ...]
) -> UrlRules:
    return UrlRules(query_allow, path_groups, own_hosts(origins))


def arrival_at(page_url: str, referrer: str, rules: UrlRules) -> Arrival | None:
    """What a page's URL and a referrer, as they were sent, say; None when the page's URL is none."""
    if len(page_url) + len(referrer) > LONGEST_CACHED:
        return _arrival_at(page_url, referrer, rules)
    return _cached_arrival(page_url, referrer, rules)


def _arrival_at(page_url: str, referrer: str, rules: UrlRules) -> Arrival | None:
    page = parse_page(clean(page_url, MAX_URL), rules.query_allow, rules.path_groups)
    if page is None:
        return None
    came_from = parse_referrer(clean(referrer, MAX_URL))
    traffic = attribute(page.host, page.query, came_from.host, rules.own_hosts)
    return Arrival(page, page.page, page.url, came_from.url, traffic.source, traffic.channel, *traffic.campaign[:5])


_cached_arrival = lru_cache(maxsize=CACHED_ARRIVALS)(_arrival_at)
