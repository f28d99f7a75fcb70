"""The worker on the Kinesis Client Library beside the embedded one: the same stream, the same run, one after the other.

    python -m bench.kcl [--events N] [--shards N] [--per-record N]

Prints, for each: seconds from the start to the first shard, events per second from there until all are counted (and
per shard), and the resident memory of its processes. kinesis-mock and DynamoDB Local stand in for AWS, on the same
cores: the numbers compare the two workers with each other, and say little about AWS. Cadences are the settings'.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.support.processes import descendants
from liveinsight.bootstrap import initialise
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import Store
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import an_event
from liveinsight.testing.resharding_stack import DynamoDBLocal, KinesisMock, install
from liveinsight.wiring import open_store, open_stream

KINDS = (("MultiLangDaemon", "daemon (JVM)"), ("processor.kcl.child", "child"), ("liveinsight worker", "worker"))


@dataclass
class Run:
    """What was seen of one worker."""

    name: str
    first_shard: float = 0.0
    counting: float = 0.0
    memory: dict[str, list[int]] = field(default_factory=dict)


def put(settings: Settings, events: int, per_record: int, *, after: int = 0) -> None:
    """Page views of some thousand visitors, each record with those of one; event ids begin after `after`."""
    rng, stream, now = random.Random(1), open_stream(settings), system_clock()
    batch: list[OutRecord] = []
    for first in range(0, events, per_record):
        visitor = rng.randrange(5_000)
        views = [
            an_event(at=now, visitor=visitor, event_id=after + first + n + 1, page=f"/page/{rng.randrange(200)}")
            for n in range(min(per_record, events - first))
        ]
        batch.append(OutRecord(partition_key(visitor), encode_record(views)))
        if len(batch) == 100 or first + per_record >= events:
            outcomes = stream.put(batch)
            if not all(outcome.sequence_number for outcome in outcomes):
                raise SystemExit("kinesis-mock did not take everything")
            batch = []


def counted(store: Store) -> int:
    """Page views in the totals."""
    quarter = quarter_of(system_clock())
    return sum(item.measures.get("pageviews", 0) for _, item in store.read_totals("default", quarter - 4, quarter).rows)


def memory(pid: int) -> dict[str, list[int]]:
    """Peak resident memory in MB of a process and those below it, by kind."""
    found: dict[str, list[int]] = {}
    for each in descendants(pid):
        with suppress(OSError, StopIteration):
            command = Path(f"/proc/{each}/cmdline").read_text().replace("\0", " ")
            status = Path(f"/proc/{each}/status").read_text().splitlines()
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
            kind = next(name for sign, name in KINDS if sign in command)
            found.setdefault(kind, []).append(round(peak / 1024))
    return found


def run(name: str, environ: dict[str, str], arguments: list[str], events: int, folder: Path) -> Run:
    """Start a worker, wait until everything is counted, look at it, and let it drain."""
    settings = Settings.from_env(environ)
    initialise(settings)
    store, seen, log = open_store(settings), Run(name), folder / f"{name}.log"
    base = {key: value for key, value in os.environ.items() if not key.startswith(("LIVEINSIGHT_", "AWS_"))}
    started = time.monotonic()
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "liveinsight", "worker", *arguments],
            env={**base, **environ},
            stdout=output,
            stderr=output,
        )
    while (done := counted(store)) < events:
        now = time.monotonic() - started
        if not seen.first_shard and '"action": "initialize"' in log.read_text(errors="replace"):
            seen.first_shard = now
        if worker.poll() is not None or now > 600:
            worker.kill()
            raise SystemExit(f"{name}: {done} of {events} counted:\n{log.read_text(errors='replace')[-2_000:]}")
        time.sleep(0.1)
    seen.counting = time.monotonic() - started - seen.first_shard
    seen.memory = memory(worker.pid)
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    return seen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--per-record", type=int, default=40)
    options = parser.parse_args()
    install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinesis, dynamodb = KinesisMock(folder), DynamoDBLocal(folder)
        try:
            environ = {
                "AWS_ENDPOINT_URL_KINESIS": kinesis.url,
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
                "LIVEINSIGHT_STREAM": "bench",
                "LIVEINSIGHT_SHARDS": str(options.shards),
            }
            initialise(Settings.from_env(environ))
            put(Settings.from_env(environ), options.events, options.per_record)
            print(f"{options.events} events, {options.shards} shards, {options.per_record} events a record", flush=True)
            for runtime, arguments in (("embedded", []), ("kcl", ["--runtime", "kcl"])):
                # The second start of the library finds its tables, as all but the very first do.
                for start in ("first", "second") if runtime == "kcl" else ("first",):
                    prefix = f"{runtime}-{start}" if start == "first" else "kcl-first"
                    if start == "second":
                        put(Settings.from_env(environ), options.events, options.per_record, after=options.events)
                    total = options.events * (2 if start == "second" else 1)
                    place = {**environ, "LIVEINSIGHT_TABLE_PREFIX": prefix}
                    show(run(f"{runtime}, {start} start", place, arguments, total, folder), options)
        finally:
            kinesis.stop()
            dynamodb.stop()


def show(seen: Run, options: argparse.Namespace) -> None:
    """One line."""
    rate = options.events / seen.counting
    sizes = ", ".join(f"{kind} {'+'.join(map(str, sizes))} MB" for kind, sizes in seen.memory.items())
    print(
        f"{seen.name:21} first shard after {seen.first_shard:5.1f} s; "
        f"{rate:8,.0f} events/s ({rate / options.shards:,.0f} a shard); {sizes}",
        flush=True,
    )


if __name__ == "__main__":
    main()
