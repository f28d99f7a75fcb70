"""Landings: by the rules of each site, and cached."""

from __future__ import annotations

from ingest.enrichment.landing import CACHED_LANDINGS, LONGEST_CACHED, _cached_landing, landing_of, url_rules
from liveinsight.sites.site import Site

URL = "https://shop.example/a?id=7&utm_source=letter"


def test_sites_with_other_rules_see_the_same_url_otherwise() -> None:
    """What was worked out for one site is not taken for another; equal rules are one object."""
    plain, strict = Site(name="plain"), Site(name="strict", query_allow=("id",), path_groups=(("/b*", "/:b"),))
    assert url_rules(plain) is url_rules(Site(name="other"))
    assert url_rules(plain) is not url_rules(strict)
    for _ in range(2):
        seen = [landing_of(URL, "https://www.google.com/", url_rules(site)) for site in (plain, strict)]
        assert [(found.name, found.source, found.utm_source) for found in seen if found] == [
            ("/a", "letter", "letter"),
            ("/a?id=7", "letter", "letter"),
        ]


def test_own_hosts_are_no_source() -> None:
    """Who comes from another host of the same site comes from nowhere new; to other sites it is a referral."""
    own = url_rules(Site(name="own", origins=("https://shop.example", "https://blog.example")))
    sources = [
        found.source
        for rules in (own, url_rules(Site(name="default")))
        if (found := landing_of("https://shop.example/", "https://blog.example/", rules))
    ]
    assert sources == ["", "blog.example"]


def test_what_is_kept_of_urls_is_bounded() -> None:
    """However many come, and however long: long ones are not kept at all."""
    rules = url_rules(Site(name="default"))
    for number in range(CACHED_LANDINGS + 100):
        landing_of(f"https://shop.example/{number}", "", rules)
    assert _cached_landing.cache_info().currsize == CACHED_LANDINGS
    before = _cached_landing.cache_info().misses
    landing_of("https://shop.example/" + "y" * LONGEST_CACHED, "", rules)
    assert _cached_landing.cache_info().misses == before
