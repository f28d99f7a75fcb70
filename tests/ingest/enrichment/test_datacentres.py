"""Data centres: their address ranges, and drops of events from them."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.enrichment.datacentres import DataCentres, load_data_centres, parse_ranges
from liveinsight.model.errors import SettingsError
from tests.ingest.conftest import Payload, Service

FILE = """
# a comment, and an empty line

192.0.2.0/25      # IPv4
2001:db8:1::/48
198.51.100.7
203.0.113.5,203.0.113.9,Somebody's cloud,https://cloud.example
"203.0.113.20","203.0.113.20"
192.0.2.128/25,a provider
"""


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("192.0.1.255", False),
        ("::ffff:192.0.2.1", True),
        ("::ffff:c000:201", True),
        ("2001:db8:1:ffff::", True),
        ("2001:db8:2::", False),
        ("2001:db8:1::1%eth0", True),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("203.0.113.4", False),
        ("203.0.113.5", True),
        ("203.0.113.9", True),
        ("203.0.113.10", False),
        ("203.0.113.20", True),
        ("", False),
        ("no address", False),
        ("192.0.2.1\x00", False),
        ("192.0.2.999", False),
    ],
)
def test_ranges_hold_their_addresses(address: str, inside: bool) -> None:
    """Networks, single addresses and first-last pairs, of both versions; what is no address is nowhere."""
    assert parse_ranges(FILE.splitlines()).holds(address) is inside


def test_any_set_of_networks_holds_what_it_should(rng: random.Random) -> None:
    """Overlapping and touching networks, compared with a look at each of them."""
    for _ in range(20):
        networks = [
            ipaddress.ip_network((rng.randrange(2**12) << 16, rng.randrange(8, 33)), strict=False)
            for _ in range(rng.randrange(1, 30))
        ]
        table = parse_ranges(map(str, networks))
        for _ in range(200):
            address = ipaddress.IPv4Address(rng.randrange(2**12) << 16 | rng.randrange(2**16))
            assert table.holds(str(address)) is any(address in network for network in networks)


def test_neighbours_are_joined_and_gaps_stay() -> None:
    """Ranges that touch become one; an address between two is in neither."""
    table = parse_ranges(["192.0.2.5", "192.0.2.4/32", "192.0.2.7", "192.0.2.0/30"])
    assert len(table) == 2
    assert [last for last in range(10) if table.holds(f"192.0.2.{last}")] == [0, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize(
    "line", ["x", "192.0.2.0/33", "192.0.2.9,192.0.2.1", "192.0.2.1,2001:db8::1", "0.0.0.0/0", "::/0"]
)
def test_a_bad_line_is_named(line: str) -> None:
    """A file is taken as a whole or not at all: half of it would be a surprise."""
    with pytest.raises(ValueError, match="line 2"):
        parse_ranges(["192.0.2.0/24", line])


def test_no_file_knows_of_none_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    """The operator is told which setting is wrong."""
    assert load_data_centres("") is None
    with pytest.raises(SettingsError, match="LIVEINSIGHT_DATACENTRES"):
        load_data_centres(str(tmp_path / "nowhere.txt"))
    (tmp_path / "bad.txt").write_text("nonsense")
    with pytest.raises(SettingsError, match="line 1"):
        load_data_centres(str(tmp_path / "bad.txt"))


def test_events_from_data_centres_are_dropped_and_counted_apart(
    make_service: Callable[..., Service], view: Callable[..., Payload], tmp_path: Path
) -> None:
    """The answer says so, nothing reaches the numbers, and others are not touched."""
    ranges = tmp_path / "ranges.txt"
    ranges.write_text("192.0.2.0/24\n")
    service = make_service(datacentres=str(ranges))
    answer = service.post([view(id="1"), view(id="2")], address="192.0.2.44")
    assert answer.status_code == 202
    assert [one["reason"] for one in answer.json["dropped"]] == ["data_centre"] * 2
    assert service.events() == []
    assert service.post(view(id="3"), address="192.0.3.44").json["accepted"] == 1
    service.ledger.send()
    ledger = [event for event in service.events() if event.type == "$ledger"]
    assert [event.props for event in ledger] == [{"data_centre": 2}]


def test_an_empty_table_holds_nothing() -> None:
    """Nothing is nowhere."""
    assert len(DataCentres()) == 0
    assert not DataCentres().holds("192.0.2.1")
