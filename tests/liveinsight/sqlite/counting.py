"""Helpers of these tests: put events, count them as a worker does, and compare with a recount of the stream."""

from __future__ import annotations

from pathlib import Path

from liveinsight.counting.counters import decode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.events import Event, decode_record, encode_record, partition_key
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.settings import Settings
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.testing.counters import split_items
from liveinsight.testing.expected import Numbers, numbers, recount
from processor.shard.checkpoints import StoreCheckpointer
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor


def backend_of(folder: Path, clock: Clock = system_clock) -> SqliteBackend:
    """The backend on a data folder."""
    return SqliteBackend(Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(folder)}), clock)


def put(backend: SqliteBackend, *events: Event) -> None:
    """Each event in a put of its own."""
    for event in events:
        backend.stream().put([OutRecord(partition_key(event.visitor), encode_record([event]))])


def count_all(backend: SqliteBackend, clock: Clock = system_clock) -> None:
    """Count what is on the stream beyond the checkpoints, as a worker does that starts and is then stopped."""
    stream, store = backend.stream(), backend.store(1)
    checkpoints = store.load_checkpoints()
    for shard in stream.shards():
        processor = RecordProcessor(store, stream.incarnation(), ProcessorOptions(), clock)
        point = checkpoints.get(shard.shard_id)
        after = point.sequence_number if point else None
        processor.initialize(shard.shard_id, after or "")
        checkpointer = StoreCheckpointer(store, shard.shard_id, stream.incarnation())
        iterator: str | None = stream.iterator(shard.shard_id, after=after, start=StartAt.TRIM_HORIZON)
        while iterator:
            batch = stream.read(iterator, 1_000)
            processor.process_records(batch.records, checkpointer, batch.millis_behind)
            iterator = batch.next_iterator if batch.millis_behind else None
        processor.shutdown_requested(checkpointer)


def on_stream(backend: SqliteBackend) -> list[tuple[str, Event]]:
    """All events with their marks."""
    stream = backend.stream()
    found: list[tuple[str, Event]] = []
    for shard in stream.shards():
        prefix = mark_prefix(stream.incarnation(), shard.shard_id)
        iterator: str | None = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
        while iterator:
            batch = stream.read(iterator, 1_000)
            for record in batch.records:
                mark = record_mark(prefix, record.sequence_number)
                found += ((event_mark(mark, index), one) for index, one in enumerate(decode_record(record.data)))
            iterator = batch.next_iterator if batch.millis_behind else None
    return found


Counts = dict[CounterKey, tuple[dict[str, int], dict[int, int]]]
"""Measures, and page views by local hour. Visitors are left out: sums of many are estimates, which differ by order."""


def recounted(backend: SqliteBackend) -> Counts:
    """What the counters should be, by the stream."""
    return _exact(recount(on_stream(backend)).counters)


def stored(backend: SqliteBackend) -> Counts:
    """What the counters are."""
    with backend.store_file.reading() as connection:
        rows = connection.execute(
            "SELECT kind, site, bucket, dimension, value, data, mark FROM counters WHERE generation = 1"
        ).fetchall()
    return _exact(numbers(split_items((CounterKey(*key), decode_counter(data, mark)) for *key, data, mark in rows)))


def _exact(found: Numbers) -> Counts:
    return {key: (measures, hours) for key, (measures, hours, _) in found.items()}


def page_views(found: Counts) -> int:
    """Of all sites and times."""
    return sum(measures.get("pageviews", 0) for key, (measures, _) in found.items() if key.kind == "totals")
