"""How fast ingest takes events, beside a bare Flask view that parses the same body: same server, same run.

Granian serves both from the same processes. Ours answers when a stream has acknowledged the events; each PutRecords
call takes 10 ms. Afterwards what the stream got is compared with what wrk was told: every event that was acknowledged
is there, once, in a record of its own bucket.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.support.ingest_app import SlowStream, bare_app, our_app, read_calls
from liveinsight.bootstrap import initialise
from liveinsight.model.events import decode_record, partition_key
from liveinsight.settings import Settings

HERE = Path(__file__).resolve().parent
PATHS = {"bare": "/bare", "sqlite": "/sqlite/collect", "stub": "/collect"}


@dataclass(frozen=True)
class Load:
    """One run of wrk, and what it was told."""

    path: str
    connections: int
    events: int
    rate: float
    cpu: float
    """Microseconds of the server's CPU time a request: what another program takes from the machine is not in it."""
    p50: float
    p99: float
    accepted: int
    bad: int


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each load (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="of all loads (default %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="server processes (default: one a core)")
    parser.add_argument("--threads", type=int, default=256, help="threads of each (default %(default)s)")
    parser.add_argument("--put-ms", type=float, default=10, help="time that PutRecords takes (default %(default)s)")
    parser.add_argument("--batch", type=int, default=50, help="events of a batch (default %(default)s)")
    parser.add_argument(
        "--profile", action="store_true", help="instead: CPU time of a request by function, without a server"
    )
    return parser


def main() -> int:
    """Entry point; exit code 1 when the stream lacks what was acknowledged."""
    options = build_parser().parse_args()
    if options.profile:
        profile(options.batch)
        return 0
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server, url = start_server(folder, options)
        try:
            loads = [load for _ in range(options.rounds) for load in run_all(server.pid, url, options)]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        return check(folder / "records", loads)


def start_server(folder: Path, options: argparse.Namespace) -> tuple[subprocess.Popen[bytes], str]:
    """Granian with both applications."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for part in ("records", "metrics"):
        (folder / part).mkdir()
    initialise(Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(folder / "records")}))
    environ = {
        **os.environ,
        "BENCH_FOLDER": str(folder / "records"),
        "BENCH_PUT_MS": str(options.put_ms),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
    }
    code = (
        "from liveinsight.runtime.wsgi_server import serve; "
        f"serve('bench.support.ingest_app:app', '127.0.0.1', {port}, "
        f"port_setting='PORT', workers={options.workers}, threads={options.threads})"
    )
    server = subprocess.Popen([sys.executable, "-c", code], env=environ, cwd=HERE.parent)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            with urllib.request.urlopen(url + "/healthz", timeout=2):
                return server, url
        except OSError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit("the server did not come up")


def run_all(server: int, url: str, options: argparse.Namespace) -> list[Load]:
    """Each load in turn, bare and ours side by side."""
    loads = []
    print(f"{'connections':>11} {'events':>6} {'':>6}    req/s  events/s  CPU us  p50 ms  p99 ms not 2xx  of bare")
    for connections, events in (
        ((32, 1), (32, 1), (256, 1)) if os.environ.get("Q") else ((32, 1), (256, 1), (64, options.batch))
    ):
        bare: Load | None = None
        for name, path in PATHS.items():
            load = run(server, url + path, connections=connections, events=events, seconds=options.seconds)
            bare = bare or load
            print(
                f"{connections:>11} {events:>6} {name:>6} {load.rate:>8,.0f} {load.rate * events:>9,.0f} "
                f"{load.cpu:>7.0f} {load.p50:>7.1f} {load.p99:>7.1f} {load.bad:>7} {load.rate / bare.rate:>8.0%}",
                flush=True,
            )
            loads.append(load)
    return loads


def run(server: int, url: str, *, connections: int, events: int, seconds: int) -> Load:
    """One run of wrk."""
    path = urlsplit(url).path
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "ingest.lua"), url, "--"]
    name = f"{random.randrange(1 << 40):x}"
    before = cpu_seconds(server)
    output = subprocess.run([*command, str(events), name], capture_output=True, text=True, check=True).stdout
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return Load(
        path,
        connections,
        events,
        rate=told["requests"] / told["seconds"],
        cpu=(cpu_seconds(server) - before) / told["requests"] * 1e6,
        p50=told["p50"],
        p99=told["p99"],
        accepted=(told["requests"] - told["bad_status"]) * events,
        bad=told["bad_status"] + told["broken"],
    )


def cpu_seconds(server: int) -> float:
    """CPU time of the server's worker processes so far."""
    total = 0
    for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def check(folder: Path, loads: list[Load]) -> int:
    """Compare what was acknowledged with what the stream got."""
    ids: Counter[int] = Counter()
    sizes: list[int] = []
    records = 0
    for path in folder.glob("*.records"):
        for call in read_calls(path):
            sizes.append(0)
            for key, data in call:
                records += 1
                for event in decode_record(data):
                    assert partition_key(event.visitor) == key
                    ids[event.event_id] += 1
                    sizes[-1] += 1
    ours = [load for load in loads if load.path == "/collect"]
    accepted = sum(load.accepted for load in ours)
    # When wrk stops, each of its connections may have a request under way, whose answer it does not count.
    open_at_end = sum(load.connections * load.events for load in ours)
    print(
        f"acknowledged {accepted:,} events; on the stream {len(ids):,}, in {records:,} records and {len(sizes):,} "
        f"calls (mean {sum(sizes) / max(1, len(sizes)):.0f} events a call); twice: {sum(ids.values()) - len(ids)}"
    )
    good = accepted <= len(ids) <= accepted + open_at_end
    print("every acknowledged event is there" if good else "WRONG: the stream and the answers do not agree")
    return 0 if good else 1


def profile(batch: int) -> None:
    """CPU time of requests, one after the other in one thread, on a stream that takes no time."""

    def caller(app: Any, path: str, events: int) -> Any:
        event = {
            "event_type": "page_view", "user_id": "u_1", "session_id": "s_1", "timestamp": int(time.time() * 1000),
            "page_url": "https://shop.example.com/products/7?utm_source=letter&color=7", "title": "A thing to buy",
            "referrer": "https://www.google.com/", "language": "en-GB", "screen_width": 1920,
        }  # fmt: skip
        agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
        numbers = iter(range(1 << 40))

        def call() -> None:
            made = [{**event, "id": str(next(numbers))} for _ in range(events)]
            body = json.dumps(made[0] if events == 1 else made).encode()
            environ = {
                "REQUEST_METHOD": "POST", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80",
                "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": "text/plain", "HTTP_USER_AGENT": agent, "REMOTE_ADDR": "127.0.0.1",
                "HTTP_HOST": "x", "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1",
            }  # fmt: skip
            statuses: list[str] = []
            for _ in app(environ, lambda status, headers, *_: statuses.append(status)):
                pass
            assert statuses[0].startswith("202"), statuses

        return call

    apps = {"bare": (bare_app(), "/bare"), "ours": (our_app(SlowStream(0, None)), "/collect")}
    for events in (1, batch):
        for name, (app, path) in apps.items():
            call = caller(app, path, events)
            for _ in range(200):
                call()
            rounds = 5000 // events + 200
            began = time.process_time()
            for _ in range(rounds):
                call()
            micros = (time.process_time() - began) / rounds * 1e6
            print(f"{name}: {micros:.0f} us of CPU time a request of {events} events (making the request included)")
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(rounds):
            call()
        profiler.disable()
        stats = pstats.Stats(profiler)
        stats.sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    raise SystemExit(main())
