"""An imported log, read through the API, equals an independent recount with pandas: also when the worker is killed.

The recount parses the file again, shares no code with the fold, and knows visits only as rows of a sorted table.
Only who is a bot it asks of ingest.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flask.testing import FlaskClient

from api.app import create_app
from ingest.delivery.group_commit import GroupCommit
from ingest.enrichment.user_agents import classify
from ingest.importer.access_log import PageRules
from ingest.importer.import_log import Importer, Target
from ingest.pipeline.context import Policy
from ingest.pipeline.pipeline import Pipeline
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.sites.site import plain_sites
from liveinsight.storage.store import Store
from liveinsight.storage.stream import Stream
from liveinsight.wiring import open_store, open_stream

pytestmark = pytest.mark.end_to_end

QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
    "LIVEINSIGHT_POLL_INTERVAL": "0.05",
}
KILLS = 10
STATIC = (
    r"\.(?:png|jpe?g|gif|ico|css|js|svg|txt|xml|xsl|zip|gz|tgz|bz2|pdf|rpm|deb|log|conf|class|json|csv|mp[34]|rss|sql"
    r"|diff|patch|sh|tar|woff2?|ttf|swf|jar|exe|ps|iso|rdf|atom|md|yml|bin|docx?)$"
)

Numbers = dict[str, Any]


def recount(log: Path) -> Numbers:
    """What the API should say, worked out from the file."""
    pattern = re.compile(
        r'(\S+) .*?\[(.+?)\] "(GET) (\S+)[^"]*" (2\d\d|304) \S+ "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"'
    )
    rows = [
        found.groups()
        for line in log.read_text(encoding="utf-8", errors="replace").split("\n")
        if (found := pattern.match(line))
    ]
    views = pd.DataFrame(rows, columns=["address", "time", "method", "target", "status", "referrer", "agent"])
    views["at"] = pd.to_datetime(views["time"], format="%d/%b/%Y:%H:%M:%S %z", utc=True)
    path = views["target"].str.replace(r"\?.*", "", regex=True)
    is_bot = {agent: classify(agent).bot for agent in views["agent"].unique()}
    keep = ~path.str.contains(STATIC, case=False, regex=True) & ~views["agent"].map(is_bot)
    path = (
        path.str.replace(r"#.*", "", regex=True)
        .str.replace(r"/+", "/", regex=True)
        .str.replace(r"(?<=.)/$", "", regex=True)
    )
    views["page"], views["order"] = path, range(len(views))
    views = views[keep].sort_values(["address", "agent", "at", "order"])
    who = ["address", "agent"]
    gap = views.groupby(who)["at"].diff()
    views["visit"] = (gap.isna() | (gap > pd.Timedelta(minutes=30))).cumsum()
    visits = views.groupby("visit").agg(
        start=("at", "first"),
        end=("at", "last"),
        entry=("page", "first"),
        exit=("page", "last"),
        views=("page", "size"),
    )
    return {
        "hours": views.groupby(views["at"].dt.floor("h")).size().to_dict(),
        "visits by hour": visits.groupby(visits["start"].dt.floor("h")).size().to_dict(),
        "bounces by hour": visits[visits["views"] == 1].groupby(visits["start"].dt.floor("h")).size().to_dict(),
        "pages": views.groupby("page").size().to_dict(),
        "entry pages": visits.groupby("entry").size().to_dict(),
        "exit pages": visits.groupby("exit").size().to_dict(),
        "visits": len(visits),
        "bounces": int((visits["views"] == 1).sum()),
        "duration_ms": round((visits["end"] - visits["start"]).dt.total_seconds().sum() * 1000),
        "visitors": views.groupby(who).ngroups,
    }


@dataclass
class Asker:
    """Asks the API for the days of a log."""

    client: FlaskClient
    days: str

    def __call__(self, question: str) -> Any:
        answer = self.client.get(f"/v1/sites/default/{question}{self.days}")
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    def breakdown(self, dimension: str, measure: str) -> dict[str, int]:
        rows = self(f"breakdown?dimension={dimension}&limit=1000&")
        return {row["value"]: row[measure] for row in rows}


def from_api(client: FlaskClient, expected: Numbers) -> Numbers:
    first, last = min(expected["hours"]), max(expected["hours"])
    ask = Asker(client, f"from={first.date()}&to={last.date()}")
    hours = ask("timeseries?interval=hour&")
    totals = ask("totals?")

    def by_hour(measure: str) -> dict[Any, int]:
        return {pd.Timestamp(row["start"]): row[measure] for row in hours if row[measure]}

    return {
        "hours": by_hour("pageviews"),
        "visits by hour": by_hour("visits"),
        "bounces by hour": by_hour("bounces"),
        "pages": ask.breakdown("page", "pageviews"),
        "entry pages": ask.breakdown("entry_page", "visits"),
        "exit pages": ask.breakdown("exit_page", "visits"),
        "visits": totals["visits"],
        "bounces": totals["bounces"],
        "duration_ms": round(totals["visit_duration_ms"] * totals["visits"], -4),
        "visitors": totals["visitors"],
    }


def assert_equal(got: Numbers, expected: Numbers) -> None:
    expected = {**expected, "duration_ms": round(expected["duration_ms"], -4)}
    visitors, expected_visitors = got.pop("visitors"), expected.pop("visitors")
    for name, value in expected.items():
        assert got[name] == value, name
    assert visitors == pytest.approx(expected_visitors, rel=0.02)


def an_importer(settings: Settings, stream: Stream) -> Importer:
    salt = b"salt" * 8
    pipeline = Pipeline(
        lambda: plain_sites(settings.sites), GroupCommit(stream), lambda *_: salt, policy=Policy(max_age_ms=None)
    )
    return Importer(pipeline, PageRules(), Target("default", "http://blog.example"), system_clock)


def send_slowly(importer: Importer, lines: list[str], rng: random.Random) -> None:
    """In about a second, so that there is something to do whenever the worker is killed."""
    for first in range(0, len(lines), 100):
        importer.send("log", lines[first : first + 100])
        time.sleep(rng.uniform(0, 2 / (len(lines) / 100)))


def test_import_equals_recount(
    access_log: Path, settings: Settings, start: Callable[..., Any], counted: Callable[[Store], None]
) -> None:
    """Page views by hour and page, visits, bounces, entry and exit pages equal the recount; visitors nearly."""
    store = open_store(settings)
    worker = start("worker", **QUICK)
    imported = start("import-log", "--quiet", "--wait", "--base-url", "http://blog.example", str(access_log))
    imported.wait_for("The events are from")
    assert imported.wait(60) == 0, imported.log.read_text()
    expected = recount(access_log)
    assert_equal(from_api(create_app(settings, store, system_clock).test_client(), expected), expected)
    assert worker.drain() == 0


def test_import_equals_recount_with_the_worker_killed(
    access_log: Path,
    settings: Settings,
    start: Callable[..., Any],
    counted: Callable[[Store], None],
    rng: random.Random,
) -> None:
    """The same numbers come out when the worker is killed ten times, at random moments, while it counts."""
    stream, store = open_stream(settings), open_store(settings)
    lines = access_log.read_text(encoding="utf-8", errors="replace").splitlines()
    importer = an_importer(settings, stream)
    share = len(lines) // KILLS + 1
    for first in range(0, len(lines), share):
        worker = start("worker", **QUICK)
        worker.wait_for('"initialize"', times=2)
        sender = threading.Thread(target=send_slowly, args=(importer, lines[first : first + share], rng))
        sender.start()
        time.sleep(rng.uniform(0.1, 1.2))
        worker.kill()
        sender.join()
    last = start("worker", **QUICK)
    counted(store)
    assert last.drain() == 0
    print(f"the last worker: {last.log.read_text().splitlines()[-1]}")
    expected = recount(access_log)
    assert_equal(from_api(create_app(settings, store, system_clock).test_client(), expected), expected)
