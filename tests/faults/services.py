"""Ingest, worker and API as real processes on one data folder: started, killed, asked.

In: a data folder. Out: processes that end with the test. Each is the leader of a process group, so that a kill reaches
the processes that it has started as well.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from liveinsight.bootstrap import initialise
from liveinsight.devstack.loopback import http_status, is_free
from liveinsight.model.events import decode_record
from liveinsight.settings import Settings
from liveinsight.storage.stream import StartAt
from liveinsight.wiring import open_stream

FILES = ("stream.db", "store.db")
COMMANDS = {
    "ingest": ("ingest", "--workers", "2", "--threads", "64"),
    "worker": ("worker", "--processes", "2"),
    "api": ("api",),
}
QUICK = {
    "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
    "LIVEINSIGHT_PREVIEWS_INTERVAL": "0.2",
    "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
    "LIVEINSIGHT_POLL_INTERVAL": "0.05",
}
START_SECONDS = 60.0


class Services:
    """The three services.

    Args:
        data: the data folder; it is created and initialised.
        logs: a folder for their output, on another disk than `data` if that is small.
        prefix: a command that runs the services, such as `setpriv`.
    """

    def __init__(self, data: Path, logs: Path, prefix: Sequence[str] = ()) -> None:
        self.data = data
        self.logs = logs
        self.ingest_port, self.api_port = low_port(), low_port()
        self._prefix = prefix
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))},
            **QUICK,
            "LIVEINSIGHT_DATA_DIR": str(data),
            "LIVEINSIGHT_INGEST_PORT": str(self.ingest_port),
            "LIVEINSIGHT_API_PORT": str(self.api_port),
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(data)})
        initialise(self.settings)

    def start(self, *names: str) -> None:
        """Start those that do not run; all three by default."""
        for name in names or COMMANDS:
            if self.alive(name):
                continue
            with (self.logs / f"{name}.log").open("ab") as output:
                self._running[name] = subprocess.Popen(
                    [*self._prefix, sys.executable, "-m", "liveinsight", *COMMANDS[name]],
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )

    def alive(self, name: str) -> bool:
        """Whether it runs."""
        return name in self._running and self._running[name].poll() is None

    def pid(self, name: str) -> int:
        """Of a service that was started."""
        return self._running[name].pid

    def kill(self, names: Sequence[str] = tuple(COMMANDS)) -> None:
        """SIGKILL to all their processes, in this order."""
        killed = [self._running[name] for name in names if name in self._running]
        for process in killed:
            # The group lives on while any process of it does.
            with_group(process.pid, signal.SIGKILL)
        for process in killed:
            process.wait()

    def verify(self) -> None:
        """`liveinsight verify`: a second count of the stream finds no difference."""
        command = [sys.executable, "-m", "liveinsight", "verify"]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def drain(self, name: str) -> int:
        """SIGTERM; the exit code."""
        self._running[name].send_signal(signal.SIGTERM)
        return self._running[name].wait(30)

    def wait_until_ready(self) -> None:
        """Wait until ingest and API say so."""
        eventually(lambda: (self.ready("ingest"), self.ready("api")) == (200, 200), START_SECONDS, self.tell)

    def ready(self, name: str) -> int:
        """Status of /readyz; 0 when nobody answers."""
        return http_status(self.ingest_port if name == "ingest" else self.api_port, "/readyz")

    def tell(self) -> str:
        """The ends of the logs."""
        logs = sorted(self.logs.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)

    def tracebacks(self) -> list[str]:
        """What the logs have of errors that nobody expected."""
        texts = [log.read_text(errors="replace") for log in self.logs.glob("*.log")]
        return [text[max(0, at - 200) : at + 3_000] for text in texts if (at := text.find("Traceback")) >= 0]

    def ask(self, question: str) -> Any:
        """What the API answers under /v1/sites/default."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=10)
        try:
            connection.request("GET", f"/v1/sites/default/{question}")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return json.loads(body)["data"]
        finally:
            connection.close()

    def counted(self) -> Counter[str]:
        """Page views by page as the API has them, and their sum as `total`."""
        rows = self.ask("breakdown?dimension=page&period=7d&limit=1000")
        views = Counter({row["value"]: row["pageviews"] for row in rows})
        return views + Counter(total=self.ask("totals?period=24h")["pageviews"])

    def on_stream(self) -> Counter[tuple[int, str]]:
        """How often each (event id, page) is on the stream."""
        stream = open_stream(self.settings)
        found: Counter[tuple[int, str]] = Counter()
        for shard in stream.shards():
            iterator: str | None = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
            while iterator:
                batch = stream.read(iterator, 10_000)
                for record in batch.records:
                    found.update((event.event_id, event.page) for event in decode_record(record.data))
                iterator = batch.next_iterator if batch.millis_behind else None
        return found

    def check_files(self, scratch: Path) -> None:
        """`PRAGMA integrity_check` on copies of both files as they are: opening these would already repair them."""
        for name in FILES:
            copy = scratch / name
            for suffix in ("", "-wal"):
                if (self.data / f"{name}{suffix}").exists():
                    shutil.copyfile(self.data / f"{name}{suffix}", f"{copy}{suffix}")
            with closing(sqlite3.connect(copy)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name
            for file in scratch.glob(f"{name}*"):
                file.unlink()


def low_port() -> int:
    """A free port below those that outgoing connections are given: visitors must not take it while ingest is down."""
    return next(port for port in random.sample(range(20_000, 32_000), 1_000) if is_free(port))


def with_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if it is there."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def eventually(condition: Callable[[], bool], seconds: float, tell: Callable[[], str] = str) -> None:
    """Wait until it holds."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, f"did not happen in time\n{tell()}"
        time.sleep(0.05)
