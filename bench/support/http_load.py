"""HTTP from the client's side: load by wrk, and single requests on a connection that stays open.

In: the address of a server on this machine. Out: rates and times, or answers.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

SCRIPT = Path(__file__).resolve().parent.parent / "ingest.lua"
TIMEOUT = 120


class Load(NamedTuple):
    """One run of wrk."""

    rate: float
    """Requests a second that were answered with 2xx or 3xx."""
    p50: float
    p99: float
    """Milliseconds."""
    requests: int
    bad: int
    """Requests that were not answered, or refused."""
    refused: int
    """Of these, those that were answered with 4xx or 5xx."""


class _Told(msgspec.Struct):
    requests: int
    seconds: float
    bad_status: int
    broken: int
    p50: float
    p99: float


def need_wrk() -> None:
    """End the program if wrk is not there."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt install wrk")


def run_wrk(url: str, *, connections: int, seconds: float, events: int = 1, form: str = "liveinsight") -> Load:
    """Page views for some seconds, as the tracker of `form` sends them; all ids are this run's own."""
    name = f"{random.randrange(1 << 40):x}"
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(SCRIPT), url, "--"]
    output = subprocess.run([*command, str(events), name, form], capture_output=True, text=True, check=True).stdout
    told = msgspec.json.decode(output.splitlines()[-1], type=_Told)
    return Load(
        (told.requests - told.bad_status) / told.seconds,
        told.p50,
        told.p99,
        told.requests,
        told.bad_status + told.broken,
        told.bad_status,
    )


class Client:
    """Requests on one connection. Not thread safe.

    Args:
        url: scheme, host and port.
        headers: of every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
        self._headers = dict(headers or {})

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """One request; the body of its answer.

        Raises:
            SystemExit: the answer is not 2xx.
        """
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status // 100 != 2:
            raise SystemExit(f"{method} {path}: {answer.status} {content[:300].decode(errors='replace')}")
        return content

    def get(self, path: str) -> object:
        """The JSON that a GET is answered with."""
        return json.loads(self.send("GET", path))
