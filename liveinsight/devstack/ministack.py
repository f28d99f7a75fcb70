"""The local stand-in for AWS: MiniStack (Kinesis and DynamoDB) as a child process that keeps its state."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.retry import wait_until

PREFERRED_PORT = 4566
"""Where local AWS stacks are by custom."""
START_SECONDS = 60.0
SAVE_SECONDS = 30.0


class StandIn:
    """A running MiniStack on loopback. State is loaded from and, at `stop`, saved to `data_dir`."""

    def __init__(self, data_dir: Path, *, port: int = 0, log: Path | None = None) -> None:
        """Start it; `port` 0 takes the customary port, or a free one when that is taken.

        Raises:
            LiveInsightError: MiniStack is not installed, or does not come up.
        """
        if importlib.util.find_spec("ministack") is None:
            raise LiveInsightError("the local stand-in is not installed: pip install 'liveinsight[local]'")
        self.port = port or _free_port(PREFERRED_PORT)
        self.url = f"http://127.0.0.1:{self.port}"
        data_dir.mkdir(parents=True, exist_ok=True)
        self._log = (log or data_dir / "standin.log").open("ab")
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LIVEINSIGHT_"))},
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "dynamodb,kinesis",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(data_dir.resolve()),
            "LOG_LEVEL": "WARNING",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=environ,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            # Ctrl-C at the terminal is for us; the stand-in stops last, when everybody has written.
            start_new_session=True,
        )
        self._wait_until_ready()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Save the state and end."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(SAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _wait_until_ready(self) -> None:
        def healthy() -> bool:
            return 0 < http_status(self.port, "/_ministack/health") < 500

        if not wait_until(healthy, possible=lambda: self.alive, seconds=START_SECONDS):
            self.stop()
            raise LiveInsightError(f"the local stand-in did not come up on port {self.port}: see {self._log.name}")


def http_status(port: int, path: str) -> int:
    """HTTP status of a GET on this machine; 0 when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LiveInsightError("no free port on this machine")
