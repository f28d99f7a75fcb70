"""How fast ingest takes events, beside a bare Flask view that parses the same body: same server, same run.

Granian serves all from the same processes. Ours answers when the stream has acknowledged the events: that of the
embedded backend, on the disk, or a stub whose PutRecords takes 10 ms. Afterwards what the streams got is compared with
what wrk was told: every event that was acknowledged is there, once, in a record of its own bucket.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.support.http_load import Load, need_wrk, run_wrk
from bench.support.ingest_app import SlowStream, bare_app, our_app, read_calls
from bench.support.processes import REPOSITORY, cpu_seconds, describe_machine
from liveinsight.bootstrap import initialise
from liveinsight.devstack.child_process import ChildProcess
from liveinsight.devstack.loopback import free_port, http_status
from liveinsight.model.events import decode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.wiring import open_stream

PATHS = {"bare": "/bare", "sqlite": "/sqlite/collect", "stub": "/collect"}


class Measured(NamedTuple):
    """One run of wrk, and what it cost."""

    name: str
    connections: int
    events: int
    load: Load
    cpu: float
    """Microseconds of the server's CPU time a request: what another program takes from the machine is not in it."""

    @property
    def accepted(self) -> int:
        """Events that were acknowledged."""
        return (self.load.requests - self.load.refused) * self.events


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
    need_wrk()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(folder / "records")})
        initialise(settings)
        server, url = start_server(folder, options)
        try:
            loads = [load for _ in range(options.rounds) for load in run_all(server.pid, url, options)]
        finally:
            server.stop(30)
        kept = {
            "stub": (call for path in (folder / "records").glob("*.records") for call in read_calls(path)),
            "sqlite": stored_records(settings),
        }
        return max(check(name, calls, [load for load in loads if load.name == name]) for name, calls in kept.items())


def start_server(folder: Path, options: argparse.Namespace) -> tuple[ChildProcess, str]:
    """Granian with all applications."""
    port = free_port()
    (folder / "metrics").mkdir()
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
    server = ChildProcess(
        "server", [sys.executable, "-c", code], environ=environ, log=folder / "server.log", folder=REPOSITORY
    )
    server.wait_until_ready(lambda: http_status(port, "/healthz") == 200)
    return server, f"http://127.0.0.1:{port}"


def run_all(server: int, url: str, options: argparse.Namespace) -> list[Measured]:
    """Each load in turn, bare and ours side by side."""
    loads = []
    print(f"{'connections':>11} {'events':>6} {'':>6}    req/s  events/s  CPU us  p50 ms  p99 ms not 2xx  of bare")
    for connections, events in ((32, 1), (256, 1), (64, options.batch)):
        of_bare = 0.0
        for name, path in PATHS.items():
            measured = run(server, name, url + path, connections=connections, events=events, seconds=options.seconds)
            load = measured.load
            of_bare = of_bare or load.rate
            print(
                f"{connections:>11} {events:>6} {name:>6} {load.rate:>8,.0f} {load.rate * events:>9,.0f} "
                f"{measured.cpu:>7.0f} {load.p50:>7.1f} {load.p99:>7.1f} {load.bad:>7} {load.rate / of_bare:>8.0%}",
                flush=True,
            )
            loads.append(measured)
    return loads


def run(server: int, name: str, url: str, *, connections: int, events: int, seconds: int) -> Measured:
    """One run of wrk."""
    before = cpu_seconds(server)
    load = run_wrk(url, connections=connections, events=events, seconds=seconds)
    cpu = (cpu_seconds(server) - before) / load.requests * 1e6
    return Measured(name, connections, events, load, cpu)


def stored_records(settings: Settings) -> Iterator[list[OutRecord]]:
    """What is on the embedded backend's stream."""
    stream = open_stream(settings)
    for shard in stream.shards():
        iterator: str | None = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
        while iterator:
            batch = stream.read(iterator, 2_000)
            yield [OutRecord(record.partition_key, record.data) for record in batch.records]
            iterator = batch.next_iterator if batch.millis_behind else None


def check(name: str, calls: Iterable[list[OutRecord]], loads: Sequence[Measured]) -> int:
    """Compare what was acknowledged with what the stream got; the exit code."""
    ids: Counter[int] = Counter()
    for call in calls:
        for key, data in call:
            for event in decode_record(data):
                assert partition_key(event.visitor) == key
                ids[event.event_id] += 1
    accepted = sum(load.accepted for load in loads)
    # When wrk stops, each of its connections may have a request under way, whose answer it does not count.
    open_at_end = sum(load.connections * load.events for load in loads)
    good = accepted <= len(ids) <= accepted + open_at_end and len(ids) == sum(ids.values())
    print(
        f"{name}: acknowledged {accepted:,} events; on the stream {len(ids):,}, twice "
        f"{sum(ids.values()) - len(ids)}: {'all there, once' if good else 'WRONG'}"
    )
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
