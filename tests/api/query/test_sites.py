"""The API answers for the current sites, not those of its start."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from api.app import create_app
from liveinsight.settings import Settings
from liveinsight.sites.site import Site, Sites, plain_sites
from liveinsight.testing.builders import FakeClock, MemoryStore


def test_sites_come_go_and_change_while_it_runs(clock: FakeClock) -> None:
    """A new site is answered for, a removed one is unknown, and days begin in the zone that a site has now."""
    held = [plain_sites({"shop": ZoneInfo("UTC"), "blog": ZoneInfo("UTC")})]
    client = create_app(Settings.from_env({}), MemoryStore(), clock, sites=lambda: held[0]).test_client()
    assert [site["site"] for site in client.get("/v1/sites").json["data"]] == ["shop", "blog"]
    assert client.get("/v1/sites/blog/totals?period=today").json["meta"]["from"].endswith("T00:00:00+00:00")
    held[0] = Sites(sites=(Site(name="new"), Site(name="blog", time_zone="Asia/Tokyo")), default="blog")
    told = client.get("/v1/sites").json["data"]
    assert [(site["site"], site["time_zone"], site["default"]) for site in told] == [
        ("blog", "Asia/Tokyo", True),
        ("new", "UTC", False),
    ]
    assert client.get("/v1/sites/blog/totals?period=today").json["meta"]["from"].endswith("T00:00:00+09:00")
    assert client.get("/v1/sites/new/totals").status_code == 200
    gone = client.get("/v1/sites/shop/totals")
    assert (gone.status_code, gone.json["error"]["reason"]) == (404, "unknown_site")


def test_without_any_site_it_says_so(clock: FakeClock) -> None:
    """Nothing breaks before the first site is made."""
    client = create_app(Settings.from_env({}), MemoryStore(), clock, sites=Sites).test_client()
    for path in ("/v1/sites/default/totals", "/api/statistics/hourly"):
        answer = client.get(path)
        assert (answer.status_code, answer.json["error"]["reason"]) == (404, "unknown_site")
