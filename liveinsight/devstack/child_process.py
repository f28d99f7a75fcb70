"""A server as a child process: started with a log file, watched, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.retry import wait_until

START_SECONDS = 60.0


def neutral_environ() -> dict[str, str]:
    """The environment without the settings of AWS and LiveInsight, for programs of others."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LIVEINSIGHT_"))}


class ChildProcess:
    """A program whose output goes to the end of the file `log`."""

    def __init__(
        self, name: str, command: Sequence[str], *, environ: Mapping[str, str], log: Path, folder: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C at the terminal does not reach it: the parent stops its children in order.
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.exit_code is None

    @property
    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def wait_until_ready(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready` says yes.

        Raises:
            LiveInsightError: it has ended, or is not ready in time; it is killed then.
        """
        if not wait_until(ready, possible=lambda: self.alive, seconds=START_SECONDS):
            self.stop(0)
            raise LiveInsightError(f"{self.name} did not start, see {self.log}:\n{self.last_lines}")

    def stop(self, seconds: float) -> None:
        """Send SIGTERM and wait; kill it when it has not ended after `seconds`, at once for 0."""
        if seconds and self.alive:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self._process.kill()
        self._process.wait()
