"""Sites as data: what they allow and leave out, and what may be said about them."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from liveinsight.model.errors import LiveInsightError
from liveinsight.sites.rules import FIELDS
from liveinsight.sites.site import ApiKey, Bots, DoNotTrackPolicy, Site, Sites, decode_sites, encode_sites, key_digest

FIELD = {field.name: field for field in FIELDS}


class Origins(NamedTuple):
    """A site's setting, origins that may send events, and others that may not."""

    setting: list[str]
    allowed: list[str]
    refused: list[str]


ORIGINS = {
    "any": Origins(setting=["*"], allowed=["https://any.example", "null"], refused=[]),
    "none": Origins(setting=[], allowed=[""], refused=["https://shop.example", "null"]),
    "one": Origins(
        setting=["https://shop.example"],
        allowed=["https://shop.example", "https://SHOP.example", ""],
        refused=[
            "http://shop.example",
            "https://shop.example:8443",
            "https://shop.example.evil",
            "https://a.shop.example",
        ],
    ),
    "all subdomains": Origins(
        setting=["https://*.shop.example"],
        allowed=["https://a.shop.example", "https://a.b.shop.example"],
        refused=[
            "https://shop.example",
            "http://a.shop.example",
            "https://evilshop.example",
            "https://.shop.example",
            "https://evil.example/.shop.example",
            "https://a@b.shop.example",
            "https://a.shop.example:8443",
        ],
    ),
    "all subdomains at a port": Origins(
        setting=["https://*.shop.example:8443"],
        allowed=["https://a.shop.example:8443"],
        refused=["https://a.shop.example"],
    ),
    "this machine": Origins(
        setting=["http://[::1]:8000", "http://localhost:8000"],
        allowed=["http://[::1]:8000", "http://localhost:8000"],
        refused=["http://[::1]"],
    ),
    "an international name": Origins(
        setting=["https://Bücher.example"], allowed=["https://xn--bcher-kva.example"], refused=[]
    ),
    "the usual port": Origins(setting=["https://shop.example:443/"], allowed=["https://shop.example"], refused=[]),
}


@pytest.mark.parametrize("origins", ORIGINS.values(), ids=ORIGINS.keys())
def test_origins(origins: Origins) -> None:
    """Exact ones, all subdomains with a star (not the domain itself), and whatever no browser has sent."""
    site = Site(name="shop", origins=FIELD["origins"].read(origins.setting))
    assert [origin for origin in origins.allowed if not site.allows_origin(origin)] == []
    assert [origin for origin in origins.refused if site.allows_origin(origin)] == []


class Ranges(NamedTuple):
    """A site's setting, addresses that it excludes, and others that it does not."""

    setting: list[str]
    inside: list[str]
    outside: list[str]


RANGES = {
    "none": Ranges(setting=[], inside=[], outside=["198.51.100.7"]),
    "an address": Ranges(setting=["198.51.100.7"], inside=["198.51.100.7"], outside=["198.51.100.8"]),
    "a network of IPv4": Ranges(
        setting=["198.51.100.0/24"],
        inside=["198.51.100.7", "::ffff:198.51.100.7"],
        outside=["198.51.101.7", "2001:db8::1", "2001:db8::c633:6407", "", "x"],
    ),
    "a network by one of its addresses": Ranges(
        setting=["198.51.100.77/24"], inside=["198.51.100.1"], outside=["198.51.101.1"]
    ),
    "a network of IPv6": Ranges(
        setting=["2001:db8::/32"], inside=["2001:db8:1::1"], outside=["2001:db9::1", "32.1.13.184"]
    ),
}


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES.keys())
def test_excluded_addresses(ranges: Ranges) -> None:
    """By range, of both kinds; what is no address is not excluded."""
    site = Site(name="shop", excluded_addresses=FIELD["excluded_addresses"].read(ranges.setting))
    assert [address for address in ranges.inside if not site.excludes_address(address)] == []
    assert [address for address in ranges.outside if site.excludes_address(address)] == []


NONSENSE = {
    "time_zone": ["Mars/Olympus", "../etc/passwd", ""],
    "origins": [
        "shop.example",
        "ftp://shop.example",
        "https://shop.example/path",
        "https://*.com",
        "https://a.*.example",
        "https://u:p@shop.example",
        "https://shop.example:99999",
        "https://",
        "https://a b.example",
    ],
    "session_gap": ["0", "1441", "half an hour", "-5"],
    "excluded_paths": ["admin/*", "/a/**/b", "/***", "/" + "/".join("*" * 9), "/" + "a" * 500],
    "excluded_addresses": ["example.com", "10.0.0.0/33"],
    "address_rate": ["-1", "1e3", "999999999"],
    "max_values": ["0"],
    "do_not_track": ["maybe"],
    "bots": ["yes"],
    "query_allow": ["a=b", ""],
    "path_groups": ["/order/*", "/order/*=order", "order=/order"],
}
"""What a field does not take."""


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in NONSENSE.items() for text in texts])
def test_what_makes_no_sense_is_refused(name: str, text: str) -> None:
    """Every field says what it takes instead."""
    field = FIELD[name]
    with pytest.raises(ValueError, match=r"use|no IANA|would allow"):
        field.read([text] if field.many else text)


def test_lists_are_bounded_and_hold_each_value_once() -> None:
    """200 values at most; what is said twice is kept once, in its order."""
    field = FIELD["query_allow"]
    assert field.read(["b", "a", "b"]) == ("b", "a")
    with pytest.raises(ValueError, match="at most 200"):
        field.read([f"q{number}" for number in range(201)])


def test_every_field_has_an_option_and_back() -> None:
    """What can be stored about a site can be said, except name and keys, which have commands of their own."""
    assert {*FIELD, "name", "keys"} == set(Site.__struct_fields__)


def test_stored_sites_come_back_as_they_were() -> None:
    """All fields survive; what is as usual takes no room."""
    full = Site(
        name="shop", time_zone="Asia/Kathmandu", origins=("https://a.example",), session_gap=15,
        excluded_paths=("/admin/**",), excluded_addresses=("10.0.0.0/8",), address_rate=60, site_rate=600, max_values=7,
        do_not_track=DoNotTrackPolicy.DROP, bots=Bots.COUNT, query_allow=("q",), path_groups=(("/o/*", "/o/:id"),),
        keys=(ApiKey("k1", "backend", key_digest("secret"), 1),),
    )  # fmt: skip
    sites = Sites(sites=(full, Site(name="blog")), default="blog", removed=("old",))
    assert decode_sites(encode_sites(sites)) == sites
    assert encode_sites(Sites(sites=(Site(name="blog"),))) == '{"sites":[{"name":"blog"}]}'
    assert list(sites.zones) == ["blog", "shop"]
    assert (sites.find(None), sites.find("shop"), sites.find("nowhere")) == (Site(name="blog"), full, None)
    assert (sites.longest_gap, Sites().find(None), Sites().zones) == (30, None, {})


@pytest.mark.parametrize("text", ["{", '{"sites":[{"name":5}]}', '{"sites":[{"name":"a","time_zone":"Mars/Olympus"}]}'])
def test_sites_that_cannot_be_read_are_an_error_of_ours(text: str) -> None:
    """Another release, or a machine without that time zone: told, not crashed over."""
    with pytest.raises(LiveInsightError):
        decode_sites(text)


def test_keys_are_compared_by_their_hash() -> None:
    """The whole key fits or it does not; what is stored fits nothing."""
    site = Site(name="shop", keys=tuple(ApiKey(f"k{n}", "", key_digest(f"secret{n}"), 1) for n in range(3)))
    assert [site.accepts_key(f"secret{number}") for number in range(4)] == [True, True, True, False]
    assert not any(map(site.accepts_key, ["", "secret", site.keys[0].digest, "\ud800", "x" * 100_000]))
    assert not Site(name="blog").accepts_key("secret0")


def test_questions_cost_microseconds() -> None:
    """Each is asked for every event, so its CPU time counts."""
    site = Site(
        name="shop", origins=tuple(f"https://*.shop{n}.example" for n in range(20)),
        excluded_addresses=tuple(f"10.{n}.0.0/16" for n in range(20)),
    )  # fmt: skip
    sites = Sites(sites=tuple(Site(name=f"s{n}") for n in range(1_000)))
    sites.find("s0"), site.allows_origin("https://x.example"), site.excludes_address("10.0.0.1")
    for ask in (
        lambda: sites.find("s777"),
        lambda: site.allows_origin("https://a.shop19.example"),
        lambda: site.excludes_address("198.51.100.1"),
    ):
        began = time.thread_time()
        for _ in range(2_000):
            ask()
        assert (time.thread_time() - began) / 2_000 < 200e-6
