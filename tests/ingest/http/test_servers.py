"""The application under the documented WSGI servers, with several processes."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.pipeline.identity import hashes_of_id
from liveinsight.settings import Settings
from tests.ingest.delivery.fickle_kinesis import FickleKinesis

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
REQUESTS = 300
PATIENCE = 30
GUNICORN = ["gunicorn", "--workers", "2", "--worker-class", "gthread", "--threads", "64", "--log-level", "warning"]
COMMANDS = {
    "granian": ["liveinsight", "ingest", "--workers", "2", "--threads", "64"],
    "gunicorn": [*GUNICORN, "ingest.wsgi:app"],
    "gunicorn, loaded before the fork": [*GUNICORN, "--preload", "ingest.wsgi:app"],
}


@contextmanager
def running(name: str, environ: dict[str, str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server, and its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *COMMANDS[name]]
    if "gunicorn" in name:
        command += ["--bind", f"127.0.0.1:{port}"]
        folder.mkdir()
        environ = {**environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "LIVEINSIGHT_QUEUE_REQUESTS": "48"}
    process = subprocess.Popen(
        command,
        env={**os.environ, **environ, "LIVEINSIGHT_INGEST_PORT": str(port)},
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        give_up_at = time.monotonic() + 40
        while True:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < give_up_at, "the server did not come up"
            try:
                with urllib.request.urlopen(url + "/readyz", timeout=2):
                    break
            except OSError:
                time.sleep(0.1)
        yield process, url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def send(url: str, one: str, page: str = "/") -> int:
    """Send an event; gives the status. 503 is tried again: a process that has just begun may not know the sites yet."""
    body = json.dumps({"event_type": "page_view", "page_url": page, "id": one, "user_id": one}).encode()
    request = urllib.request.Request(
        f"{url}/collect", body, {"Content-Type": "text/plain", "User-Agent": CHROME}, method="POST"
    )
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503 or time.monotonic() > give_up_at:
                return int(error.code)
            time.sleep(1)


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", COMMANDS)
def test_it_runs_under(
    name: str, aws: Settings, aws_environ: dict[str, str], tmp_path: Path, rng: random.Random
) -> None:
    """Two processes take events at once; all are on the stream; /metrics of either counts them all.

    SIGTERM ends it in order, with what the ledgers have gathered on the stream, too.
    """
    kinesis = FickleKinesis(rng)
    environ = {**aws_environ, "AWS_ENDPOINT_URL_KINESIS": kinesis.url}
    try:
        with running(name, environ, tmp_path / "metrics") as (process, url):
            with ThreadPoolExecutor(24) as pool:
                sent = list(pool.map(lambda number: send(url, f"event-{number}"), range(REQUESTS)))
            assert set(sent) == {202}
            assert all(hashes_of_id("default", f"event-{n}") & kinesis.event_ids for n in range(REQUESTS))
            # Whichever process answers, it answers for both.
            for _ in range(6):
                with urllib.request.urlopen(url + "/metrics", timeout=5) as answer:
                    lines = answer.read().decode().splitlines()
                assert f"liveinsight_ingest_accepted_events_total {REQUESTS}.0" in lines
                assert "liveinsight_ingest_waiting_requests 0.0" in lines
            # The ledger gathers what is refused for a second: at the end it does not wait for that.
            assert {send(url, "bad", page="javascript:0") for _ in range(20)} == {400}
            process.send_signal(signal.SIGTERM)
            assert process.wait(14) == 0
            assert kinesis.refused == {"invalid_url": 20}
    finally:
        kinesis.shutdown()
        kinesis.server_close()


@pytest.mark.end_to_end
def test_workers_end_when_their_parent_was_killed(aws: Settings, aws_environ: dict[str, str], tmp_path: Path) -> None:
    """Nobody is left who could tell them to, and they must not keep the port from the next start."""
    with running("granian", aws_environ, tmp_path) as (process, url):
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        give_up_at = time.monotonic() + 20
        while _answers(url):
            assert time.monotonic() < give_up_at, "a worker still serves"
            time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/healthz", timeout=5):
            return True
    except ConnectionError:
        return False
    except urllib.error.URLError as error:
        return not isinstance(error.reason, ConnectionError)
