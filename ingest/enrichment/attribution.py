"""Attribution: the source, the channel and the campaign fields of a visit.

In: the parts of page URL and referrer. Out: a `Traffic`. Pure; the rules are data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from ingest.contract.limits import MAX_CAMPAIGN_FIELD, MAX_QUERY_FIELDS, MAX_SOURCE
from ingest.contract.text import clean
from ingest.enrichment.known_sources import BY_CLICK_ID, BY_HOST, BY_LABEL, BY_NAME, Click, Kind, Source


class Campaign(NamedTuple):
    """Campaign fields of the page's query string. `click` is the platform whose click id the link has."""

    source: str = ""
    medium: str = ""
    name: str = ""
    term: str = ""
    content: str = ""
    click: Click | None = None

    @property
    def fields(self) -> tuple[str, str, str, str, str]:
        """The campaign fields, in the order of `Landing` and `Event`."""
        return self.source, self.medium, self.name, self.term, self.content


class Traffic(NamedTuple):
    """Source, channel and campaign of a visit. An empty source is a direct visit."""

    source: str
    channel: str
    campaign: Campaign


NO_CAMPAIGN = Campaign()
CACHED_SOURCES = 4096
LONGEST_CACHED = 512
"""Longer query strings are not cached, so that the cache stays small whatever is sent."""

_PAID_MEDIA = frozenset({"cpc", "ppc", "paid", "paidsearch", "paid-search", "paid_search", "sem"})
_PAID_SOCIAL_MEDIA = frozenset({"paidsocial", "paid-social", "paid_social"})
_DISPLAY_MEDIA = frozenset({"display", "banner", "interstitial", "cpm"})
_EMAIL_MEDIA = frozenset({"email", "e-mail", "e_mail", "e mail", "newsletter"})
_SOCIAL_MEDIA = frozenset({"social", "social-network", "social-media", "social_media", "sm"})
_AI_MEDIA = frozenset({"ai", "ai-assistant", "ai_assistant", "llm", "chatbot"})
_SECOND_LEVEL = frozenset({"co", "com", "net", "org"})
_WORTH_PARSING = re.compile("utm_|" + "|".join(map(re.escape, BY_CLICK_ID)), re.IGNORECASE)


class _Signs(NamedTuple):
    medium: str
    kind: Kind | None
    paid: bool
    tagged: bool
    source: str


_Rule = tuple[str, Callable[[_Signs], bool]]

CHANNELS: tuple[_Rule, ...] = (
    ("Display", lambda s: s.medium in _DISPLAY_MEDIA or (s.paid and s.kind is Kind.DISPLAY)),
    ("Paid Social", lambda s: s.medium in _PAID_SOCIAL_MEDIA or (s.paid and s.kind is Kind.SOCIAL)),
    ("Paid Search", lambda s: s.paid),
    ("Affiliates", lambda s: s.medium in {"affiliate", "affiliates"}),
    ("Email", lambda s: s.medium in _EMAIL_MEDIA or s.kind is Kind.EMAIL),
    ("AI Assistants", lambda s: s.kind is Kind.AI or s.medium in _AI_MEDIA),
    ("Organic Social", lambda s: s.medium in _SOCIAL_MEDIA or s.kind is Kind.SOCIAL),
    ("Organic Search", lambda s: s.medium == "organic" or s.kind is Kind.SEARCH),
    ("Campaign", lambda s: s.tagged),
    ("Referral", lambda s: bool(s.source)),
    ("Direct", lambda s: True),
)
"""The first rule that applies gives the channel."""


def attribute(page_host: str, query: str, referrer_host: str, own_hosts: Collection[str] = ()) -> Traffic:
    """Source, channel and campaign of an event.

    Args:
        page_host: the page's host, in lower case.
        query: of the page's URL.
        referrer_host: in lower case and without ``www.``; empty when there is no referrer.
        own_hosts: other hosts of the same site: referrers among them are internal.
    """
    if len(query) > LONGEST_CACHED:
        return _attribute(page_host, query, referrer_host, frozenset(own_hosts))
    return _cached_attribute(page_host, query, referrer_host, frozenset(own_hosts))


def _attribute(page_host: str, query: str, referrer_host: str, own_hosts: frozenset[str]) -> Traffic:
    campaign = parse_campaign(query)
    internal = referrer_host == page_host.removeprefix("www.") or referrer_host in own_hosts
    source, kind = _source(campaign, "" if internal else referrer_host)
    medium = campaign.medium.lower()
    signs = _Signs(
        medium=medium,
        kind=kind,
        paid=medium in _PAID_MEDIA or (campaign.click is not None and campaign.click.paid),
        tagged=any(campaign.fields),
        source=source,
    )
    channel = next(name for name, holds in CHANNELS if holds(signs))
    return Traffic(source, channel, campaign)


_cached_attribute = lru_cache(maxsize=CACHED_SOURCES)(_attribute)


def _source(campaign: Campaign, referrer_host: str) -> tuple[str, Kind | None]:
    if campaign.source:
        named = campaign.source.lower()
        known = BY_NAME.get(named) or known_source(named)
        return (known.name, known.kind) if known else (campaign.source, None)
    known = known_source(referrer_host) if referrer_host else None
    # A known referrer is more specific than a click id: Facebook adds its own in Instagram, too.
    if campaign.click and (known is None or known.kind is Kind.OTHER):
        return campaign.click.source, campaign.click.kind
    return (known.name, known.kind) if known else (referrer_host[:MAX_SOURCE], None)


@lru_cache(maxsize=1024)
def own_hosts(origins: tuple[str, ...]) -> frozenset[str]:
    """The hosts of a site's own origins, as referrers name them."""
    hosts = (origin.partition("://")[2].partition(":")[0] for origin in origins)
    return frozenset(host.removeprefix("www.") for host in hosts if host)


def known_source(host: str) -> Source | None:
    """The well-known source that a host belongs to."""
    labels = host.split(".")
    for first in range(len(labels)):
        found = BY_HOST.get(".".join(labels[first:])) or _any_country(labels[first:])
        if found:
            return found
    return None


def _any_country(labels: list[str]) -> Source | None:
    # google.de, google.com and google.co.uk, but not google.evil.example.
    if len(labels) == 2 or (len(labels) == 3 and labels[1] in _SECOND_LEVEL and len(labels[2]) == 2):
        return BY_LABEL.get(labels[0])
    return None


def parse_campaign(query: str) -> Campaign:
    """The campaign fields of a query string."""
    if not _WORTH_PARSING.search(query):
        return NO_CAMPAIGN
    try:
        pairs = parse_qsl(query, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return NO_CAMPAIGN
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name.lower(), clean(value, MAX_CAMPAIGN_FIELD))
    return Campaign(
        fields.get("utm_source", ""),
        fields.get("utm_medium", ""),
        fields.get("utm_campaign", ""),
        fields.get("utm_term", ""),
        fields.get("utm_content", ""),
        next((click for name, click in BY_CLICK_ID.items() if fields.get(name)), None),
    )
