"""Where a visitor came from: the source, the channel, and the campaign fields.

In: the parts of page URL and referrer. Out: a `Traffic`. Pure; the rules are data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from ingest.limits import MAX_CAMPAIGN_FIELD, MAX_QUERY_FIELDS, MAX_SOURCE
from ingest.source_names import BY_HOST, BY_LABEL, BY_NAME, Kind, Source
from ingest.text import clean


class Campaign(NamedTuple):
    """What the page's query string says; `paid_click`: it carries the click id of an advertisement."""

    source: str = ""
    medium: str = ""
    name: str = ""
    term: str = ""
    content: str = ""
    paid_click: bool = False


class Traffic(NamedTuple):
    """How a visit came to be. An empty source is a direct visit."""

    source: str
    channel: str
    campaign: Campaign


NO_CAMPAIGN = Campaign()
_PAID_CLICK_IDS = ("gclid", "msclkid", "gbraid", "wbraid")
_PAID_MEDIA = frozenset({"cpc", "ppc", "paid", "paidsearch", "paid-search", "paid_search", "sem"})
_PAID_SOCIAL_MEDIA = frozenset({"paidsocial", "paid-social", "paid_social"})
_DISPLAY_MEDIA = frozenset({"display", "banner", "interstitial", "cpm"})
_EMAIL_MEDIA = frozenset({"email", "e-mail", "e_mail", "newsletter"})
_SOCIAL_MEDIA = frozenset({"social", "social-network", "social-media", "social_media", "sm"})
_SECOND_LEVEL = frozenset({"co", "com", "net", "org"})


class _Signs(NamedTuple):
    medium: str
    kind: Kind | None
    paid: bool
    tagged: bool
    source: str


_Rule = tuple[str, Callable[[_Signs], bool]]

CHANNELS: tuple[_Rule, ...] = (
    ("Display", lambda s: s.medium in _DISPLAY_MEDIA),
    ("Paid Social", lambda s: s.medium in _PAID_SOCIAL_MEDIA or (s.paid and s.kind is Kind.SOCIAL)),
    ("Paid Search", lambda s: s.paid),
    ("Affiliates", lambda s: s.medium in {"affiliate", "affiliates"}),
    ("Email", lambda s: s.medium in _EMAIL_MEDIA or s.kind is Kind.EMAIL),
    ("AI Assistants", lambda s: s.kind is Kind.AI),
    ("Organic Social", lambda s: s.medium in _SOCIAL_MEDIA or s.kind is Kind.SOCIAL),
    ("Organic Search", lambda s: s.medium == "organic" or s.kind is Kind.SEARCH),
    ("Campaign", lambda s: s.tagged),
    ("Referral", lambda s: bool(s.source)),
    ("Direct", lambda s: True),
)
"""The first rule that holds names the channel."""


@lru_cache(maxsize=8192)
def attribute(page_host: str, query: str, referrer_host: str) -> Traffic:
    """Source, channel and campaign of an event on `page_host`; hosts in lower case, the referrer's without ``www.``."""
    campaign = parse_campaign(query)
    known: Source | None
    if campaign.source:
        known = BY_NAME.get(campaign.source.lower()) or known_source(campaign.source.lower())
        source = known.name if known else campaign.source
    elif not referrer_host or referrer_host == page_host.removeprefix("www."):
        known, source = None, ""
    else:
        known = known_source(referrer_host)
        source = known.name if known else referrer_host[:MAX_SOURCE]
    medium = campaign.medium.lower()
    signs = _Signs(
        medium=medium,
        kind=known.kind if known else None,
        paid=campaign.paid_click or medium in _PAID_MEDIA,
        tagged=any(campaign[:5]),
        source=source,
    )
    channel = next(name for name, holds in CHANNELS if holds(signs))
    return Traffic(source, channel, campaign)


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
    if "utm_" not in query and not any(name in query for name in _PAID_CLICK_IDS):
        return NO_CAMPAIGN
    try:
        pairs = parse_qsl(query, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return NO_CAMPAIGN
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, clean(value, MAX_CAMPAIGN_FIELD))
    return Campaign(
        fields.get("utm_source", ""),
        fields.get("utm_medium", ""),
        fields.get("utm_campaign", ""),
        fields.get("utm_term", ""),
        fields.get("utm_content", ""),
        any(fields.get(name) for name in _PAID_CLICK_IDS),
    )
