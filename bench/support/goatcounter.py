"""GoatCounter on this machine: built from its released module, and run with a site of its own.

In: a folder. Out: a running server with one public site, an API token, and limits that a load test does not meet.
Its source stays in Go's own caches.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from bench.support.access_logs import View
from bench.support.http_load import Client
from bench.support.processes import run
from liveinsight.devstack.child_process import ChildProcess, neutral_environ
from liveinsight.devstack.loopback import free_port, http_status

MODULE, VERSION = "zgo.at/goatcounter/v2", "v2.7.0"
LIMITS = "count:1000000000/1,api:1000000000/1,api-count:1000000000/1"
EVERYTHING = 2 | 4 | 8 | 16 | 32 | 64
"""Permissions of a token. The command line does not know all of them."""
FILE = "db.sqlite3"
BUILD_SECONDS = 1_800
STOP_SECONDS = 60
HITS_PER_REQUEST = 500
"""More are refused."""
BREAKDOWNS = ("browsers", "systems", "locations", "toprefs")


class NotBuilt(Exception):
    """GoatCounter cannot be built here; the message says why."""


def build(folder: Path) -> Path:
    """The program, built unless `folder` has it.

    Raises:
        NotBuilt: what Go has said.
    """
    program = folder / f"goatcounter-{VERSION}"
    if program.exists():
        return program
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if go is None:
        raise NotBuilt("there is no Go")
    folder.mkdir(parents=True, exist_ok=True)
    module = msgspec.json.decode(_go([go, "mod", "download", "-json", f"{MODULE}@{VERSION}"], folder), type=_Module)
    # In Go's cache of modules, where the checksums of what it needs are, too.
    _go([go, "build", "-o", str(program), "./cmd/goatcounter"], module.folder)
    return program


class _Module(msgspec.Struct):
    folder: str = msgspec.field(name="Dir")


def _go(command: list[str], folder: Path | str) -> str:
    environ = {**neutral_environ(), "CGO_ENABLED": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, check=False, text=True, timeout=BUILD_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"{' '.join(command)} did not end within {BUILD_SECONDS} s") from error
    if done.returncode:
        raise NotBuilt(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


class GoatCounter:
    """Runs until the `with` block ends.

    Args:
        program: from `build`.
        folder: for its database; one that has one is used again.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        port = free_port()
        self._program, self._folder = program, folder
        self.url = f"http://127.0.0.1:{port}"
        self._database = f"sqlite+{folder / FILE}"
        if not (folder / FILE).exists():
            self._create_site()
        with closing(sqlite3.connect(folder / FILE)) as connection:
            (self._token,) = connection.execute("SELECT token FROM api_tokens").fetchone()
        command = self._command("serve", "-listen", f"127.0.0.1:{port}", "-tls", "http", "-ratelimit", LIMITS)
        began = time.monotonic()
        self._server = ChildProcess(
            "goatcounter", command, environ=neutral_environ(), log=folder.parent / "goatcounter.log"
        )
        self._server.wait_until_ready(lambda: http_status(port, "/status") == 200)
        self.start_seconds = time.monotonic() - began

    def _command(self, *arguments: str) -> list[str]:
        return [str(self._program), *arguments, "-db", self._database]

    def _create_site(self) -> None:
        site = ("-vhost", "127.0.0.1", "-user.email", "bench@example.com", "-user.password", "benchmark-only")
        token = ("-user", "1", "-name", "bench", "-perm", "count")
        for command in (("site", "-createdb", *site), ("apitoken", *token)):
            run(self._command("db", "create", *command), neutral_environ())
        with closing(sqlite3.connect(self._folder / FILE)) as connection, connection:
            connection.execute("UPDATE api_tokens SET permissions = ?", [str(EVERYTHING)])
            connection.execute("UPDATE sites SET settings = json_set(CAST(settings AS TEXT), '$.public', 'public')")

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._server.pid

    def __enter__(self) -> GoatCounter:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(STOP_SECONDS)

    def client(self) -> Client:
        """A connection that may use the API."""
        return Client(self.url, {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"})

    def disk_bytes(self) -> int:
        """Of the database and its log."""
        return sum(path.stat().st_size for path in self._folder.iterdir())

    def fill(self, views: Iterable[View]) -> int:
        """Count page views of other times; returns how many it will count: a visit's views of a page once."""
        client, waiting = self.client(), iter(views)
        pages: set[tuple[int, str]] = set()
        while batch := list(islice(waiting, HITS_PER_REQUEST)):
            hits = [
                {
                    "path": view.path,
                    "ref": view.referrer.strip("-"),
                    "user_agent": view.agent,
                    "ip": view.address,
                    "session": str(view.visit),
                    "created_at": datetime.fromtimestamp(round(view.at), UTC).isoformat(),
                }
                for view in batch
            ]
            client.send("POST", "/api/v0/count", msgspec.json.encode({"hits": hits}))
            pages.update((view.visit, view.path) for view in batch)
        return len(pages)

    def counted(self) -> int:
        """What its counters hold. It keeps no single page views unless told to."""
        with closing(sqlite3.connect(self._folder / FILE)) as connection:
            (found,) = connection.execute("SELECT coalesce(sum(total), 0) FROM hit_counts").fetchone()
        return int(found)


def report(first: date, last: date) -> list[str]:
    """The questions of a report: totals by day, pages, and four breakdowns."""
    return [f"/api/v0/stats/{name}?{_span(first, last)}" for name in ("total", "hits", *BREAKDOWNS)]


def visitors(client: Client, first: date, last: date) -> int:
    """Page views, each visitor's of a page once, as the API counts them."""
    answer = client.get(f"/api/v0/stats/total?{_span(first, last)}")
    assert isinstance(answer, dict)
    return int(answer["total"])


def _span(first: date, last: date) -> str:
    return urlencode({"start": f"{first}T00:00:00Z", "end": f"{last}T23:00:00Z"})
