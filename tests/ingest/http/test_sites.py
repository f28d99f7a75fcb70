"""A site's rules apply to events over HTTP, and a change applies within seconds."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ingest.http.service_views import Limits
from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.events import LEDGER
from liveinsight.sites.repository import create_missing
from liveinsight.sites.site import Bots, DoNotTrackPolicy
from liveinsight.storage.store import Document
from liveinsight.testing.memory_store import MemoryStore

MakeService = Callable[..., Any]
View = Callable[..., dict[str, Any]]

BOT = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
SHOP = {"Origin": "https://shop.example"}


def counted(service: Any) -> dict[str, dict[str, int]]:
    """What the ledger says: counts by site and reason."""
    service.ledger.send()
    found: dict[str, dict[str, int]] = {}
    for event in service.events():
        if event.type == LEDGER:
            reasons = found.setdefault(event.site, {})
            for reason, count in event.props.items():
                reasons[reason] = reasons.get(reason, 0) + count
    return found


def verdict(answer: Any) -> tuple[int, str]:
    """Status, and the reason of a refusal or drop."""
    body = answer.json
    dropped = [one["reason"] for one in body.get("dropped", [])]
    return answer.status_code, body["error"]["reason"] if "error" in body else "".join(dropped)


def test_the_origin_is_a_matter_of_each_events_site(make_service: MakeService, view: View) -> None:
    """One request for three sites: each site's own list decides, and its own ledger counts."""
    service = make_service(sites="default shop blog", site={"origins": ("https://*.default.example",)})
    service.edit_site("shop", origins=("https://shop.example",))
    answer = service.post([view(), view(site="shop"), view(site="blog")], headers=SHOP)
    assert answer.status_code == 207
    assert [(one["status"], one.get("reason")) for one in answer.json["events"]] == [
        (403, "origin_not_allowed"), (202, None), (202, None),
    ]  # fmt: skip
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert [event.site for event in service.events()] == ["shop", "blog"]
    assert counted(service) == {"default": {"origin_not_allowed": 1}}
    # No browser has sent it: there is nothing to check.
    assert service.post(view()).status_code == 202


def test_preflight_is_accepted_for_any_origin(make_service: MakeService) -> None:
    """A preflight knows no site: it is the event that is refused."""
    service = make_service(site={"origins": ("https://shop.example",)})
    answer = service.client.options("/collect", headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


def test_pages_and_addresses_can_be_excluded(make_service: MakeService, view: View) -> None:
    """They are dropped with their reason, by the path before it is grouped, however the URL is written."""
    service = make_service(
        site={
            "excluded_paths": ("/admin/**", "/cart"), "excluded_addresses": ("198.51.100.0/24",),
            "path_groups": (("/admin/*", "/any"), ("/*/*", "/any")),
        }
    )  # fmt: skip
    here = {"address": "203.0.113.1"}
    page = "https://shop.example"
    out = [f"{page}/admin/users?tab=2", "/admin/a/b", f"{page}//admin/./x#y", f"{page}/cart", f"{page}/admin/"]
    for url in out:
        assert verdict(service.post(view(page_url=url), **here)) == (202, "excluded_path"), url
    for url in [f"{page}/cart/2", f"{page}/administrator", "/", "https://admin/x/"]:
        assert verdict(service.post(view(page_url=url), **here)) == (202, ""), url
    assert verdict(service.post(view(), address="198.51.100.77")) == (202, "excluded_address")
    assert verdict(service.post(view(), address="::ffff:198.51.100.77")) == (202, "excluded_address")
    assert counted(service) == {"default": {"excluded_path": 5, "excluded_address": 2}}
    assert len([event for event in service.events() if event.type != LEDGER]) == 4


def test_an_excluded_address_is_the_clients_behind_proxies(make_service: MakeService, view: View) -> None:
    """What a client writes into X-Forwarded-For neither hides it nor leaves others out."""
    site = {"excluded_addresses": ("198.51.100.0/24",)}
    forged = {"X-Forwarded-For": "203.0.113.9"}
    direct = make_service(site=site)
    assert verdict(direct.post(view(), address="198.51.100.1", headers=forged)) == (202, "excluded_address")
    behind = make_service(site=site, trusted_proxies="1")
    through = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}
    assert verdict(behind.post(view(), address="10.0.0.1", headers=through)) == (202, "excluded_address")
    assert verdict(
        behind.post(view(), address="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    ) == (202, "")


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [(DoNotTrackPolicy.OFF, "u_abc"), (DoNotTrackPolicy.ANONYMOUS, ""), (DoNotTrackPolicy.DROP, None)],
)
def test_the_sites_do_not_track_policy_applies(
    make_service: MakeService, view: View, header: str, policy: DoNotTrackPolicy, expected: str | None
) -> None:
    """Counted with ids, without them, or not at all; who has no such wish is counted either way."""
    service = make_service(site={"do_not_track": policy})
    answer = service.post(view(), headers={header: "1"})
    if expected is None:
        assert verdict(answer) == (202, "do_not_track")
        assert counted(service) == {"default": {"do_not_track": 1}}
    else:
        assert [event.user_id for event in service.events()] == [expected]
    assert service.post(view(), headers={header: "0"}).json["accepted"] == 1


def test_bots_are_counted_by_the_sites_setting(make_service: MakeService, view: View) -> None:
    """Another site of the same request leaves them out."""
    service = make_service(sites="default shop", site={"bots": Bots.COUNT})
    service.post([view(), view(site="shop")], headers=BOT)
    assert [(event.site, event.device) for event in service.events()] == [("default", "Bot")]
    assert counted(service) == {"shop": {"bot": 1}}


def test_query_fields_and_groups_are_the_sites_own(make_service: MakeService, view: View) -> None:
    """What makes a page a page of its own differs by site."""
    service = make_service(sites="default shop", site={"query_allow": ("id",)})
    service.edit_site("shop", path_groups=(("/order/*", "/order/:id"),))
    url = "https://shop.example/order/17?id=3&token=secret"
    service.post([view(page_url=url), view(page_url=url, site="shop")])
    assert [event.page for event in service.events()] == ["/order/17?id=3", "/order/:id"]


def test_events_above_the_rate_of_an_address_are_refused(make_service: MakeService, view: View) -> None:
    """429 tells how long; the rest of a batch is refused event by event; others are not held up."""
    service = make_service(site={"address_rate": 6})
    batch = [view(id=str(number)) for number in range(8)]
    answer = service.post(batch)
    assert [one["status"] for one in answer.json["events"]] == [202] * 6 + [429] * 2
    answer = service.post(view())
    assert (verdict(answer), answer.headers["Retry-After"]) == ((429, "rate_limited"), "10")
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "198.51.100.1" not in answer.text
    assert service.post(view(), address="198.51.100.2").status_code == 202
    assert service.post(view(), headers={"X-Forwarded-For": "198.51.100.3"}).status_code == 429
    service.clock.advance(seconds=10)
    assert service.post(view()).status_code == 202
    assert counted(service) == {"default": {"rate_limited": 4}}


def test_events_above_the_rate_of_a_site_are_refused(make_service: MakeService, view: View) -> None:
    """Whoever sends them; another site goes on."""
    service = make_service(sites="default shop", site={"site_rate": 3})
    statuses = [service.post(view(), address=f"198.51.100.{number}").status_code for number in range(5)]
    assert statuses == [202, 202, 202, 429, 429]
    assert service.post(view(site="shop")).status_code == 202


def test_a_change_of_a_site_applies_within_seconds(make_service: MakeService, view: View) -> None:
    """New sites, removed ones, time zones and limits: no restart; what came before stays as it was."""
    store = MemoryStore()
    service = make_service(store=store)
    assert service.only_event(view(id="1", timestamp=service.clock())).hour == 12
    assert verdict(service.post(view(site="shop"))) == (404, "unknown_site")
    create_missing(store, {"shop": ZoneInfo("Asia/Tokyo")})
    service.edit_site("default", time_zone="America/New_York", excluded_paths=("/x",))
    service.clock.advance(seconds=2)
    assert service.only_event(view(id="2", page_url="/y")).hour == 8
    assert service.only_event(view(id="3", site="shop")).hour == 21
    assert verdict(service.post(view(id="4"))) == (202, "excluded_path")


class AwayStore(MemoryStore):
    """A store whose documents cannot be read while it is away."""

    away = False

    def load_document(self, name: str) -> Document:
        if self.away:
            raise StoreUnavailable("away")
        return super().load_document(name)


def test_events_are_taken_while_the_sites_cannot_be_read(make_service: MakeService, view: View) -> None:
    """The last known ones hold; a process that has never read any says 503 until it can."""
    store = AwayStore()
    running = make_service(store=store)
    assert running.post(view()).status_code == 202
    starting = make_service(store=store)
    store.away = True
    for _ in range(3):
        running.clock.advance(hours=1)
        assert running.post(view()).status_code == 202
        answer = starting.post(view())
        assert (verdict(answer), answer.headers["Retry-After"]) == ((503, "store_unavailable"), "1")
        assert starting.post(b"{").status_code == 400
    store.away = False
    starting.clock.advance(seconds=2)
    assert starting.post(view()).status_code == 202
    assert counted(starting) == {"default": {"malformed_json": 3}}


def test_unknown_sites_are_not_stored(make_service: MakeService, view: View) -> None:
    """Thousands of names: 404 with a reason, one row in the ledger under the default site, no memory kept."""
    service = make_service()
    rng = random.Random(7)

    def flood(count: int) -> None:
        for _ in range(count // 100):
            names = [f"<script>{rng.getrandbits(64):x}" for _ in range(100)]
            answer = service.post([view(site=name) for name in names])
            assert answer.status_code == 404
            assert not any(name in answer.text for name in names)

    flood(2_000)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    flood(10_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # Kept names alone would be 700 KB.
    assert grown < 300_000
    assert counted(service) == {"default": {"unknown_site": 12_000}}
    assert b"script" not in b"".join(service.records())


def test_limits_are_published(make_service: MakeService, view: View) -> None:
    """All of them, by site; who is left out is not told."""
    service = make_service(sites="default shop", site={"excluded_addresses": ("198.51.100.0/24",)})
    service.edit_site("shop", address_rate=60, session_gap=15, max_values=100)
    told = service.client.get("/v1/limits?site=shop")
    assert told.status_code == 200
    limits = msgspec.json.decode(told.data, type=Limits)
    assert (limits.request.max_events, limits.times.max_age_ms, limits.duplicates.events_per_visitor) == (
        100,
        86_400_000,
        64,
    )
    assert (limits.site.events_per_address, limits.site.events_per_site, limits.site.session_gap_minutes) == (
        60,
        None,
        15,
    )
    for field, most in limits.refused_beyond.items():
        if field in {"user_id", "session_id", "page_url", "referrer", "event_type", "conversion_type", "id"}:
            assert service.post(view(**{field: "/" + "x" * (most - 1)})).status_code == 202, field
            assert service.post(view(**{field: "/" + "x" * most})).status_code == 400, field
    default = service.client.get("/v1/limits")
    assert (default.json["site"]["site"], default.json["site"]["events_per_address"]) == ("default", None)
    assert "198.51" not in default.text
    assert default.headers["Access-Control-Allow-Origin"] == "*"
    unknown = service.client.get("/v1/limits?site=nowhere")
    assert (unknown.status_code, unknown.json["error"]["reason"]) == (404, "unknown_site")
