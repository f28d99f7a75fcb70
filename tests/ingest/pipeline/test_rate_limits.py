"""Token buckets: what comes in, what waits and for how long, and that memory is bounded."""

from __future__ import annotations

import random
import threading
import time

import pytest

from ingest.pipeline.rate_limits import Rates, client_of
from liveinsight.sites.site import Site
from liveinsight.testing.builders import NOON

SHOP = Site(name="shop", address_rate=60)
HERE = "198.51.100.1"


def taken(rates: Rates, site: Site, address: str, now: int, tries: int) -> int:
    """How many of so many events at once come in."""
    return sum(not rates.wait(site, address, now) for _ in range(tries))


def test_a_bucket_holds_a_minute_and_fills_evenly() -> None:
    """60 a minute: 60 at once, then one a second; the wait that is told is enough."""
    rates = Rates()
    assert taken(rates, SHOP, HERE, NOON, 100) == 60
    assert rates.wait(SHOP, HERE, NOON) == 1.0
    assert rates.wait(SHOP, HERE, NOON + 400) == pytest.approx(0.6)
    assert taken(rates, SHOP, HERE, NOON + 1_000, 5) == 1
    assert taken(rates, SHOP, HERE, NOON + 11_000, 50) == 10
    assert taken(rates, SHOP, HERE, NOON + 200_000, 100) == 60


def test_sites_and_addresses_have_buckets_of_their_own() -> None:
    """One address that is too fast delays neither others nor itself elsewhere."""
    rates = Rates()
    blog = Site(name="blog", address_rate=60)
    taken(rates, SHOP, HERE, NOON, 100)
    assert taken(rates, SHOP, "198.51.100.2", NOON, 100) == 60
    assert taken(rates, blog, HERE, NOON, 100) == 60


def test_a_site_has_a_bucket_for_all_its_addresses() -> None:
    """Its limit holds whoever sends; what it refuses is not taken from the address."""
    rates = Rates()
    site = Site(name="shop", address_rate=10, site_rate=30)
    addresses = [f"198.51.100.{number}" for number in range(5)]
    assert [taken(rates, site, address, NOON, 20) for address in addresses] == [10, 10, 10, 0, 0]
    assert taken(rates, site, addresses[4], NOON + 60_000, 20) == 10


def test_no_limit_is_no_limit() -> None:
    """0 takes everything and remembers nobody."""
    rates = Rates()
    assert taken(rates, Site(name="shop"), HERE, NOON, 10_000) == 10_000
    assert rates.remembered_addresses == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:aaaa::1", "20010db800010002::/64"),
        ("2001:db8:1:2::ffff", "20010db800010002::/64"),
        ("2001:db8:1:3::1", "20010db800010003::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
        ("no address", "no address"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_client_is_its_network(address: str, client: str) -> None:
    """One client has 2^64 addresses: they share a bucket."""
    assert client_of(address) == client


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    """An hour back: the bucket counts as empty, and fills as ever."""
    rates = Rates()
    taken(rates, SHOP, HERE, NOON, 100)
    back = NOON - 3_600_000
    assert rates.wait(SHOP, HERE, back) == 1.0
    assert taken(rates, SHOP, HERE, back + 1_000, 5) == 1


def test_never_more_than_the_rate_allows(rng: random.Random) -> None:
    """At random times, any minute lets in at most two buckets' worth, and all minutes together their rate."""
    rates, now, moments = Rates(), NOON, []
    for _ in range(5_000):
        now += rng.choice((0, 1, 100, 3_000))
        if not rates.wait(SHOP, HERE, now):
            moments.append(now)
    for start in moments[::50]:
        assert sum(start <= moment < start + 60_000 for moment in moments) <= 120
    assert len(moments) <= 60 + (now - NOON) / 1000 + 1


def test_memory_of_addresses_is_bounded() -> None:
    """Made-up addresses push out those that were silent for longest; who is active stays limited."""
    rates = Rates(remembered=1_000)
    taken(rates, SHOP, HERE, NOON, 60)
    for number in range(20_000):
        rates.wait(SHOP, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", NOON)
        if number % 500 == 0:
            rates.wait(SHOP, HERE, NOON + number % 2)
    assert rates.remembered_addresses == 1_000
    assert client_of.cache_info().maxsize == 4096


def test_an_address_that_is_refused_stays_remembered() -> None:
    """Being refused is being active: otherwise a flood from elsewhere would set it free."""
    rates = Rates(remembered=10)
    taken(rates, SHOP, HERE, NOON, 60)
    for number in range(100):
        assert rates.wait(SHOP, HERE, NOON) > 0
        rates.wait(SHOP, f"10.0.0.{number}", NOON)


def test_threads_share_a_bucket() -> None:
    """Four threads at once get one bucket's worth."""
    rates, counts = Rates(), []
    threads = [threading.Thread(target=lambda: counts.append(taken(rates, SHOP, HERE, NOON, 500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 60


def test_it_costs_microseconds() -> None:
    """A check costs far less CPU time than parsing an event."""
    rates, site = Rates(), Site(name="shop", address_rate=10_000_000, site_rate=10_000_000)
    began = time.thread_time()
    for number in range(20_000):
        rates.wait(site, "198.51.100.1", NOON + number)
    assert (time.thread_time() - began) / 20_000 < 50e-6
