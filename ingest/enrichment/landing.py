"""The landing of an event: its page, its referrer, and the source, channel and campaign that follow from both.

In: a page's URL and a referrer as they were sent, and the site's rules. Out: a `Landing`. Pure. Results are cached,
since both texts repeat.
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

CACHED_LANDINGS = 8192
LONGEST_CACHED = 512
"""Characters of both texts; longer ones are not cached, so that the cache stays below some 10 MB."""


# Compared by identity, which costs nothing: equal rules are one object (see `url_rules`).
@dataclass(frozen=True, eq=False, slots=True)
class UrlRules:
    """A site's URL rules, read by `pages.parse_page` and `attribution.attribute`."""

    query_allow: tuple[str, ...]
    path_groups: tuple[tuple[str, str], ...]
    own_hosts: frozenset[str]


class Landing(Struct, frozen=True, gc=False):
    """A page and how the visitor came to it. Fields are empty where nothing is known."""

    page: Page
    name: str
    """The page as a dimension value."""
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


def landing_of(page_url: str, referrer: str, rules: UrlRules) -> Landing | None:
    """The landing of a page's URL and a referrer; None when the page's URL is invalid."""
    if len(page_url) + len(referrer) > LONGEST_CACHED:
        return _landing_of(page_url, referrer, rules)
    return _cached_landing(page_url, referrer, rules)


def _landing_of(page_url: str, referrer: str, rules: UrlRules) -> Landing | None:
    page = parse_page(clean(page_url, MAX_URL), rules.query_allow, rules.path_groups)
    if page is None:
        return None
    came_from = parse_referrer(clean(referrer, MAX_URL))
    traffic = attribute(page.host, page.query, came_from.host, rules.own_hosts)
    return Landing(page, page.page, page.url, came_from.url, traffic.source, traffic.channel, *traffic.campaign.fields)


_cached_landing = lru_cache(maxsize=CACHED_LANDINGS)(_landing_of)
