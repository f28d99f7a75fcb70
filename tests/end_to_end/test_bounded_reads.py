"""Reads are bounded: the same question over a hundred times the events reads the same number of items."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from liveinsight.bootstrap import initialise
from liveinsight.model.buckets import HOUR_MS, quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.events import Event, encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import Store
from liveinsight.storage.stream import OutRecord, Stream
from liveinsight.testing.builders import an_event
from processor.embedded.shard_threads import ShardThreads
from processor.embedded.worker import Worker
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

pytestmark = pytest.mark.end_to_end

QUESTIONS = (
    "/v1/sites/default/totals?period=24h",
    "/v1/sites/default/timeseries?period=24h&interval=hour",
    "/v1/sites/default/breakdown?dimension=page&period=7d",
    "/v1/sites/default/breakdown?dimension=country&period=7d",
    "/v1/sites/default/live?minutes=5",
    "/v1/sites/default/sessions?limit=20",
    "/api/sessions/active?limit=20",
    "/api/statistics/hourly?hours=24",
    "/api/statistics/pages?days=7",
)


def items_read(client: FlaskClient, path: str) -> int:
    answer = client.get(path)
    assert answer.status_code == 200
    if path.startswith("/api/"):
        return int(answer.headers["X-LiveInsight-Items-Read"])
    return int(answer.json["meta"]["items_read"])


def events(count: int, now: int) -> list[Event]:
    """Events spread over the last hour, a twentieth of them visitors; the same pages however many."""
    return [
        an_event(
            at=now - HOUR_MS + number * HOUR_MS // count,
            visitor=1 + number % (count // 20) * 7919,
            event_id=number + 1,
            page=f"/page/{number % 7}",
            country=("DE", "FR", "US")[number % 3],
        )
        for number in range(count)
    ]


def count_all(settings: Settings, stream: Stream, store: Store, now: int, count: int) -> None:
    by_key: dict[str, list[Event]] = {}
    for event in events(count, now):
        by_key.setdefault(partition_key(event.visitor), []).append(event)
    records = [
        OutRecord(key, encode_record(part[first : first + 50]))
        for key, part in by_key.items()
        for first in range(0, len(part), 50)
    ]
    for first in range(0, len(records), 500):
        stream.put(records[first : first + 500])
    options = ProcessorOptions(counters_interval=2, previews_interval=4, sessions_interval=8)
    threads = ShardThreads(
        stream, store, lambda incarnation: RecordProcessor(store, incarnation, options, system_clock)
    )
    worker = Worker(stream, store, threads)
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    while thread.is_alive() and worker.progress.events < count:
        thread.join(0.05)
    stop.set()
    thread.join()


def test_items_read_do_not_grow_with_events(
    aws_environ: dict[str, str], open_aws: Callable[[Settings], tuple[Stream, Store]]
) -> None:
    """Every endpoint reads as many items after 100,000 events as after 1,000, and counts all of them."""
    # From the middle of a bucket, so that both runs touch the same buckets however long they take.
    now = quarter_of(system_clock()) * 900_000 + 450_000
    read: list[dict[str, int]] = []
    for count in (1_000, 100_000):
        name = f"{aws_environ['LIVEINSIGHT_STREAM']}-{count}"
        settings = Settings.from_env({**aws_environ, "LIVEINSIGHT_STREAM": name, "LIVEINSIGHT_TABLE_PREFIX": name})
        initialise(settings)
        stream, store = open_aws(settings)
        count_all(settings, stream, store, now, count)
        client = create_app(settings, store, lambda: now).test_client()
        assert client.get(QUESTIONS[0]).json["data"]["events"] == count
        read.append({path: items_read(client, path) for path in QUESTIONS})
    few, many = read
    assert min(few.values()) > 0
    assert few == many
