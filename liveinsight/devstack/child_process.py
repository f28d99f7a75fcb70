"""A program as a child process: started with a log file, watched, started again, stopped.

In: a command. Out: a process that ends with this one, and whose output goes to a log of bounded size.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from liveinsight.devstack.tied import tied
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.retry import wait_until

START_SECONDS = 60.0
LOG_BYTES = 10 << 20
"""Size at which a log is moved aside."""
LOGS_KEPT = 5
"""Older logs that are kept beside a log, as `<name>.log.1` and so on."""
LINES_KEPT = 30
"""Last lines of its output that are kept in memory."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a program that has ended is started again: doubled each time."""
WELL_SECONDS = 60.0
"""A program that ran for so long begins with the first pause again."""


def neutral_environ() -> dict[str, str]:
    """The environment without the settings of AWS and LiveInsight, for programs of others."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LIVEINSIGHT_"))}


class ChildProcess:
    """A program whose output goes to the file `log`.

    Args:
        name: for people.
        command: path of the program, and its arguments.
        environ: its environment.
        log: where its output goes.
        folder: where it runs.
        elapsed: a clock in seconds.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environ = environ
        self._folder = folder
        self._elapsed = elapsed
        self.last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        """The end of its output."""
        self._pause = FIRST_PAUSE
        self._again_at: float | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        self._start()

    def _start(self) -> None:
        self._began = self._elapsed()
        self._process = subprocess.Popen(
            tied(self._command),
            env=self._environ,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C at the terminal does not reach it: the parent stops its children in order.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._pump = threading.Thread(target=_pump, args=(self._process.stdout, self.log, self.last_lines), daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        """Of the running program."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.exit_code is None

    def wait_until_ready(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready` says yes.

        Raises:
            LiveInsightError: it has ended, or is not ready in time; it is killed then.
        """
        if not wait_until(ready, possible=lambda: self.alive, seconds=START_SECONDS):
            self.stop(0)
            last_lines = "\n".join(list(self.last_lines)[-8:])
            raise LiveInsightError(f"{self.name} did not start, see {self.log}:\n{last_lines}")

    def supervise(self, say: Callable[[str], None]) -> None:
        """Start it again if it has ended, after a pause; to be called every so often by the thread that made it."""
        if self.alive:
            return
        now = self._elapsed()
        if self._again_at is None:
            if now - self._began > WELL_SECONDS:
                self._pause = FIRST_PAUSE
            say(f"{self.name} has ended with code {self.exit_code}, see {self.log}; next start in {self._pause:g} s")
            self._again_at = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif now >= self._again_at:
            self._again_at = None
            self._start()

    def stop(self, seconds: float) -> None:
        """Send SIGTERM and wait; kill it when it has not ended after `seconds`, at once for 0."""
        if seconds and self.alive:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self._process.kill()
        self._process.wait()
        # A child of its own may hold the pipe open.
        self._pump.join(1)


class _Log(RotatingFileHandler):
    """A file of bounded size. What cannot be written is lost, as nobody must wait for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, encoding="utf-8", errors="replace", delay=True
        )

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: the file is tried again with the next line."""


def _pump(output: IO[bytes], path: Path, last_lines: deque[str]) -> None:
    """Write the lines of `output` to a log."""
    log = _Log(path)
    with output:
        for line in output:
            text = line.decode("utf-8", "replace").rstrip("\n")
            last_lines.append(text)
            log.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))
    log.close()
