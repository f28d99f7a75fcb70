"""Countries, regions and languages: which source wins, and that no address is kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from ingest.enrichment.geo import (
    NOWHERE,
    MmdbDatabase,
    Place,
    RegistryDatabase,
    open_geo_database,
    place_of_headers,
    primary_language,
)
from liveinsight.model.errors import SettingsError
from tests.ingest.conftest import Payload, Service

PUBLIC = "193.0.6.139"
"""Of RIPE NCC in Amsterdam, which gives out addresses itself and will not move."""


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database in the format of GeoLite2 City and of DB-IP Lite."""
    path = tmp_path_factory.mktemp("geo") / "places.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City")
    berlin = {"country": {"iso_code": "DE"}, "subdivisions": [{"iso_code": "BE"}, {"iso_code": "X"}]}
    writer.insert_network(IPSet(["198.51.100.0/24", "2001:db8::/32"]), berlin)
    paris = {"country": {"iso_code": "FR"}, "subdivisions": [{"names": {"en": "Paris\u202e", "de": "x"}}]}
    writer.insert_network(IPSet(["198.18.0.0/24"]), paris)
    writer.insert_network(IPSet(["203.0.113.0/25"]), {"country": {"iso_code": "FR"}})
    writer.insert_network(IPSet(["203.0.113.128/25"]), {"country_code": "IT"})
    writer.insert_network(IPSet(["192.0.2.0/25"]), {"country": "XX", "subdivisions": "strange"})
    writer.insert_network(IPSet(["192.0.2.128/25"]), "strange")
    writer.to_db_file(str(path))
    return path


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"CLOUDFRONT_VIEWER_COUNTRY": "DE", "CLOUDFRONT_VIEWER_COUNTRY_REGION": "BE"}, ("DE", "DE-BE")),
        ({"CLOUDFRONT_VIEWER_COUNTRY": "DE"}, ("DE", "")),
        ({"CF_IPCOUNTRY": "US", "CF_REGION_CODE": "CA"}, ("US", "US-CA")),
        ({"X_VERCEL_IP_COUNTRY": "FR", "X_VERCEL_IP_COUNTRY_REGION": "IDF"}, ("FR", "FR-IDF")),
        ({"X_APPENGINE_COUNTRY": "JP", "X_APPENGINE_REGION": "13"}, ("JP", "JP-13")),
        ({"X_APPENGINE_COUNTRY": "US", "X_APPENGINE_REGION": "ca"}, ("US", "US-CA")),
        ({"X_VERCEL_IP_COUNTRY": "GB", "X_VERCEL_IP_COUNTRY_REGION": "GB-ENG"}, ("GB", "GB-ENG")),
        ({"CF_IPCOUNTRY": "XX", "X_VERCEL_IP_COUNTRY": "FR"}, ("FR", "")),
        ({"CF_IPCOUNTRY": "T1"}, ("", "")),
        ({"CF_IPCOUNTRY": "de"}, ("", "")),
        ({"CF_IPCOUNTRY": "<script>"}, ("", "")),
        ({"CF_IPCOUNTRY": "DE", "CF_REGION_CODE": "<b>"}, ("DE", "")),
        ({"CF_REGION_CODE": "CA"}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_networks_say_country_and_region_in_headers(headers: dict[str, Any], place: tuple[str, str]) -> None:
    """What is no country is unknown, and a region without its country too."""
    assert place_of_headers({"HTTP_" + name: value for name, value in headers.items()}) == place


CLOUDFLARE = {"CF-IPCountry": "US", "CF-Region-Code": "CA"}


def test_headers_count_behind_a_trusted_proxy_only(
    make_service: Callable[..., Service], view: Callable[..., Payload], database: Path
) -> None:
    """Anybody can write them; what the database says of the address counts then."""
    believed = make_service(trusted_proxies="1", geo_db=str(database)).only_event(view(), headers=CLOUDFLARE)
    assert (believed.country, believed.region) == ("US", "US-CA")
    forged = make_service(geo_db=str(database)).only_event(view(), headers=CLOUDFLARE)
    assert (forged.country, forged.region) == ("DE", "DE-BE")
    nothing = make_service(geo_db="off").only_event(view(), headers=CLOUDFLARE)
    assert (nothing.country, nothing.region) == ("", "")


def test_the_address_that_counts_is_the_one_the_proxy_vouches_for(
    make_service: Callable[..., Service], view: Callable[..., Payload], database: Path
) -> None:
    """Behind a proxy without such headers the forwarded address is looked up, not the proxy's."""
    service = make_service(trusted_proxies="1", geo_db=str(database))
    event = service.only_event(view(), address="10.0.0.1", headers={"X-Forwarded-For": "192.0.2.9, 203.0.113.7"})
    assert event.country == "FR"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("198.51.100.9", ("DE", "DE-BE")),
        ("::ffff:198.51.100.9", ("DE", "DE-BE")),
        ("2001:db8::1%eth0", ("DE", "DE-BE")),
        ("198.18.0.9", ("FR", "FR-Paris")),
        ("203.0.113.9", ("FR", "")),
        ("203.0.113.200", ("IT", "")),
        ("192.0.2.9", ("", "")),
        ("192.0.2.200", ("", "")),
        ("10.0.0.1", ("", "")),
        ("", ("", "")),
        ("no address", ("", "")),
    ],
)
def test_a_database_says_country_and_region(database: Path, address: str, place: tuple[str, str]) -> None:
    """In both spellings that free databases use; what it does not know or means nothing is nowhere."""
    assert MmdbDatabase(database).place_of(address) == place


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "192.168.0.1", "::1", "fe80::1%eth0", "fd00::1", "", "x"])
def test_private_addresses_are_nowhere(address: str) -> None:
    """And so is what is no address."""
    assert RegistryDatabase().place_of(address) == NOWHERE


def test_without_a_database_the_registries_lists_give_the_country(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """No file, no account and no network are needed for it."""
    assert open_geo_database("") is not None
    assert RegistryDatabase().place_of(PUBLIC) == Place("NL")
    assert RegistryDatabase().place_of("::ffff:" + PUBLIC) == Place("NL")
    assert make_service().only_event(view(), address=PUBLIC).country == "NL"
    assert make_service().only_event(view(id="2"), address="192.168.0.7").country == ""


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    """The operator is told which setting is wrong, at the start and not with the first visitor."""
    with pytest.raises(SettingsError, match="LIVEINSIGHT_GEO_DB"):
        open_geo_database(str(tmp_path / "nowhere.mmdb"))
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(os.urandom(5000))
    with pytest.raises(SettingsError, match="LIVEINSIGHT_GEO_DB"):
        open_geo_database(str(bad))


def test_a_database_is_not_mapped(database: Path, tmp_path: Path) -> None:
    """An update in place must not take the process down: the old content goes on being used."""
    copy = tmp_path / "copy.mmdb"
    copy.write_bytes(database.read_bytes())
    geo = MmdbDatabase(copy)
    copy.write_bytes(b"")
    assert geo.place_of("203.0.113.9") == Place("FR")


@pytest.mark.parametrize("address", [PUBLIC, "2001:67c:2e8:22::c100:68b", "no address at all", "192.0.2.1\x00"])
def test_looking_up_an_address_leaves_no_trace_of_it(
    database: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised, logged or printed, whatever the text is."""
    caplog.set_level(logging.DEBUG)
    for geo in (RegistryDatabase(), MmdbDatabase(database)):
        geo.place_of(address)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("tags", "language"),
    [("de-AT", "de"), ("en-US,en;q=0.9", "en"), (" fil", "fil"), ("*", ""), ("", ""), ("x1", ""), ("<script>", "")],
)
def test_languages_lose_their_region(tags: str, language: str) -> None:
    """The first language of the browser, without where it is spoken."""
    assert primary_language(tags) == language
