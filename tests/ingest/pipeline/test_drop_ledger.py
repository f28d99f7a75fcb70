"""What is not let through is counted by site and reason; what would grow without bound is folded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingest.delivery.group_commit import GroupCommit
from ingest.pipeline.cardinality import ValueGuard
from ingest.pipeline.drop_ledger import Ledger
from liveinsight.counting.rollups import OTHER
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import StreamUnavailable
from liveinsight.model.events import LEDGER
from liveinsight.sites.site import plain_sites
from liveinsight.testing.builders import an_event
from liveinsight.testing.memory_stream import MemoryStream

BOT = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}


def counted(service: Any) -> dict[str, dict[str, int]]:
    """What the ledger has put onto the stream: counts by site and reason."""
    service.ledger.send()
    found: dict[str, dict[str, int]] = {}
    for event in service.events():
        if event.type == LEDGER:
            reasons = found.setdefault(event.site, {})
            for reason, count in event.props.items():
                reasons[reason] = reasons.get(reason, 0) + count
    return found


def test_every_way_not_to_be_counted_is_counted(make_service: Callable[..., Any], view: Callable[..., Any]) -> None:
    """Bots, bad events, unknown sites, foreign origins and bad bodies each have a row, at the site they are for."""
    service = make_service(sites="default=UTC shop=UTC", site={"origins": ("https://shop.example",)})
    service.post([view(), view(event_type=None), view(site="shop", event_type=None)])
    service.post(view(site="shop"), headers=BOT)
    service.post([view(site="nowhere"), view(timestamp=service.clock() + 10**9)])
    service.post(view(), headers={"Origin": "https://evil.example"})
    service.post(b"{")
    service.post(view(), headers={"Content-Type": "image/png"})
    assert counted(service) == {
        "default": {
            "missing_field": 1, "unknown_site": 1, "future_timestamp": 1, "origin_not_allowed": 1, "malformed_json": 1,
            "unsupported_media_type": 1,
        },
        "shop": {"missing_field": 1, "bot": 1},
    }  # fmt: skip
    assert service.events()[0].type == "page_view"


def test_counts_are_kept_while_the_stream_is_down(make_service: Callable[..., Any]) -> None:
    """What cannot be sent is sent later, once."""
    service = make_service()
    service.post(b"{")
    service.stream.down = True
    with pytest.raises(StreamUnavailable):
        service.ledger.send()
    service.stream.down = False
    service.post(b"{")
    assert counted(service) == {"default": {"malformed_json": 2}}
    assert counted(service) == {"default": {"malformed_json": 2}}


def test_counts_go_out_by_themselves() -> None:
    """A moment after the first one they are on the stream, whoever asks."""
    stream = MemoryStream(system_clock)
    ledger = Ledger(
        lambda: plain_sites({"default": ZoneInfo("UTC")}), GroupCommit(stream), system_clock, gather_seconds=0.05
    )

    def note_a_hundred() -> None:
        for _ in range(100):
            ledger.note("default", "bot")

    threads = [threading.Thread(target=note_a_hundred) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    give_up_at = time.monotonic() + 5
    while not stream.records():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_clients_cannot_write_the_ledger(service: Any, view: Callable[..., Any]) -> None:
    """Types that start with a dollar sign are refused."""
    answer = service.post(view(event_type=LEDGER, props={"bot": 10**9}))
    assert (answer.status_code, answer.json["error"]["reason"]) == (400, "reserved_name")


def test_new_pages_without_end_become_other(make_service: Callable[..., Any], view: Callable[..., Any]) -> None:
    """Beyond the cap pages are one value, in the record; known ones stay what they are; the URL is kept as it was."""
    service = make_service(site={"max_values": 3})
    for number in [*range(6), 0]:
        service.post(view(page_url=f"https://shop.example/{number}", timestamp=service.clock() - number))
    assert [event.page for event in service.events()] == ["/0", "/1", "/2", OTHER, OTHER, OTHER, "/0"]
    assert service.events()[4].page_url == "https://shop.example/4"


def test_caps_are_per_site_day_and_dimension() -> None:
    """A full dimension leaves other sites, days and dimensions alone."""
    guard = ValueGuard()
    assert guard.admit(an_event(page="/a", source="Google"), 1).page == "/a"
    folded = guard.admit(an_event(page="/b", source="Google"), 1)
    assert (folded.page, folded.source) == (OTHER, "Google")
    assert guard.admit(an_event(page="/b", site="other"), 1).page == "/b"
    assert guard.admit(an_event(page="/b", day=20260101), 1).page == "/b"


def test_memory_of_values_is_bounded() -> None:
    """Days that were not seen for longest are forgotten when too many values are remembered."""
    guard = ValueGuard(remembered=500)
    for number in range(20_000):
        guard.admit(an_event(page=f"/{number}", day=20260101 + number // 100), 100)
    assert guard.remembered_values <= 700


def test_session_gap_of_a_site_is_in_the_record(make_service: Callable[..., Any], view: Callable[..., Any]) -> None:
    """A site's own gap travels with its events; others have the default."""
    service = make_service(sites="default=UTC shop=UTC")
    service.edit_site("shop", session_gap=15)
    service.post([view(), view(site="shop")])
    assert [event.gap_minutes for event in service.events()] == [30, 15]


def test_the_ledgers_own_events_are_not_counted_as_accepted(tmp_path: Path) -> None:
    """Processes that share their numbers share them by name: a second set of metrics would add to the first."""
    program = """
import os, pathlib
from zoneinfo import ZoneInfo
from ingest.delivery.group_commit import GroupCommit
from ingest.pipeline.drop_ledger import Ledger
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.model.clock import system_clock
from liveinsight.sites.site import plain_sites
from liveinsight.testing.builders import MemoryStream

metrics = IngestMetrics(pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
sites = plain_sites({"default": ZoneInfo("UTC")})
commit = GroupCommit(MemoryStream(system_clock))
ledger = Ledger(lambda: sites, commit, system_clock, gather_seconds=0, metrics=metrics)
ledger.note("default", "bot", 3)
ledger.send()
print(metrics.render().decode())
"""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert 'liveinsight_ingest_refused_events_total{reason="bot"} 3.0' in shown.stdout
    assert "liveinsight_ingest_accepted_events_total 0.0" in shown.stdout
