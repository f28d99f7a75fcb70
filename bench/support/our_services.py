"""`liveinsight up --production` in a folder, as a small server runs it.

In: a data folder. Out: addresses of ingest and API, and the pid of the program that all others are below.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from bench.support.http_load import Client
from bench.support.processes import REPOSITORY
from liveinsight.devstack.child_process import ChildProcess, neutral_environ
from liveinsight.devstack.loopback import free_port, http_status

LIVEINSIGHT = (sys.executable, "-m", "liveinsight")
DRAIN_SECONDS = 60


class Services:
    """Runs until the `with` block ends.

    Args:
        folder: the data folder; its parent gets the log.
        settings: further environment variables.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        ingest, api = free_port(), free_port()
        self.environ = {
            **neutral_environ(),
            "LIVEINSIGHT_DATA_DIR": str(folder),
            "LIVEINSIGHT_INGEST_PORT": str(ingest),
            "LIVEINSIGHT_API_PORT": str(api),
            "PYTHONPATH": str(REPOSITORY),
            **(settings or {}),
        }
        self.ingest_url, self.api_url = f"http://127.0.0.1:{ingest}", f"http://127.0.0.1:{api}"
        began = time.monotonic()
        command = [*LIVEINSIGHT, "up", "--production"]
        self._up = ChildProcess("up", command, environ=self.environ, log=folder.parent / "up.log", folder=REPOSITORY)
        self._up.wait_until_ready(lambda: http_status(ingest, "/readyz") == 200 and http_status(api, "/readyz") == 200)
        self.start_seconds = time.monotonic() - began
        """From the command until ingest and API are ready."""

    @property
    def pid(self) -> int:
        """Of `up`."""
        return self._up.pid

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self._up.stop(DRAIN_SECONDS)

    def client(self) -> Client:
        """A connection to the API."""
        return Client(self.api_url)


def question(endpoint: str, *, site: str = "default", **parameters: object) -> str:
    """The path of a question about a site."""
    return f"/v1/sites/{site}/{endpoint}?{urlencode(parameters)}"


def report(first: date, last: date, site: str = "default") -> list[str]:
    """The questions of a report: totals, days, pages, and four breakdowns."""
    days = {"from": first, "to": last}
    breakdowns = ("page", "browser", "os", "country", "source")
    return [
        question("totals", site=site, **days),
        question("timeseries", site=site, interval="day", **days),
        *(question("breakdown", site=site, dimension=name, limit=20, **days) for name in breakdowns),
    ]


def pageviews(client: Client, first: date, last: date, site: str = "default") -> int:
    """Page views of some days, as the API tells them."""
    answer = client.get(question("totals", site=site, **{"from": first, "to": last}))
    assert isinstance(answer, dict)
    return int(answer["data"]["pageviews"])


def page_view(number: int, *, visitor: int, site: str = "default") -> bytes:
    """A page view as the tracker sends it; `number` makes it one of its own."""
    event = {
        "event_type": "page_view", "site": site, "id": f"n-{number}", "user_id": f"u_{visitor}",
        "session_id": f"s_{visitor}",
        "page_url": f"https://www.example.com/products/{number % 200}", "title": "A thing to buy",
        "referrer": "https://www.google.com/", "language": "en-GB", "screen_width": 1920,
    }  # fmt: skip
    return msgspec.json.encode(event)


def disk_by_kind(folder: Path) -> dict[str, int]:
    """Bytes by table of both files, once their logs are moved into them."""
    found: Counter[str] = Counter()
    for file in ("stream.db", "store.db"):
        with closing(sqlite3.connect(folder / file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            found.update(dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY 1").fetchall()))
    return dict(found)
