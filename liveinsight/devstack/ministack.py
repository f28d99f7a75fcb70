"""MiniStack: the local AWS stack (Kinesis and DynamoDB) as a child process that keeps its state."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from liveinsight.devstack.child_process import ChildProcess, neutral_environ
from liveinsight.devstack.loopback import free_port, http_status
from liveinsight.model.errors import LiveInsightError

PREFERRED_PORT = 4566
"""The usual port of local AWS stacks."""
SAVE_SECONDS = 30.0


class MiniStack:
    """A running MiniStack on loopback. It loads its state from `data_dir`, and saves it there at `stop`."""

    def __init__(self, data_dir: Path, *, port: int = 0) -> None:
        """Start it; `port` 0 takes the usual port, or a free one when that is taken.

        Raises:
            LiveInsightError: MiniStack is not installed, or does not start.
        """
        if importlib.util.find_spec("ministack") is None:
            raise LiveInsightError("the local AWS stack is not installed: pip install 'liveinsight[local]'")
        self.port = port or free_port(PREFERRED_PORT)
        self.url = f"http://127.0.0.1:{self.port}"
        environ = {
            **neutral_environ(),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "dynamodb,kinesis",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(data_dir.resolve()),
            "LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-m", "ministack"]
        self._process = ChildProcess("MiniStack", command, environ=environ, log=data_dir / "ministack.log")
        self._process.wait_until_ready(lambda: 0 < http_status(self.port, "/_ministack/health") < 500)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive

    def stop(self) -> None:
        """Save the state and end."""
        self._process.stop(SAVE_SECONDS)
