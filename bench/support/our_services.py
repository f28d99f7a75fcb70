"""`liveinsight up --production` in a folder, as a small server runs it.

In: a data folder. Out: addresses of ingest and API, and the pid of the program that all others are below.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

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
