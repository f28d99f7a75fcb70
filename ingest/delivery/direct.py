"""Events go onto the stream: grouped into records, put, and what was not taken put again.

In: events. Returns only when the stream has acknowledged every record; otherwise raises `StreamUnavailable`,
and the whole request may be sent again, as repeated events are recognised downstream.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from liveinsight.model.errors import StreamUnavailable
from liveinsight.model.events import Event, encode_record, partition_key
from liveinsight.storage.stream import MAX_BYTES_PER_PUT, MAX_RECORD_BYTES, MAX_RECORDS_PER_PUT, OutRecord, Sink


@dataclass(frozen=True)
class Retries:
    """How long and how often to try: exponential backoff with full jitter, in seconds.

    A call that fails as a whole is not tried again here: the stream's client has done so already, and a server
    whose threads all wait for a stream that is down serves nobody.
    """

    deadline: float = 2.0
    first_wait: float = 0.05
    longest_wait: float = 0.8
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1."""
    elapsed: Callable[[], float] = time.monotonic


def records_of(events: Sequence[Event]) -> list[OutRecord]:
    """One record per virtual bucket, events in order; more than one where it would be too large."""
    buckets: dict[str, list[Event]] = {}
    for event in events:
        buckets.setdefault(partition_key(event.visitor), []).append(event)
    return [OutRecord(key, data) for key, bucket in buckets.items() for data in _encoded(bucket)]


def _encoded(events: list[Event]) -> Iterator[bytes]:
    data = encode_record(events)
    if len(data) <= MAX_RECORD_BYTES or len(events) == 1:
        yield data
        return
    middle = len(events) // 2
    yield from _encoded(events[:middle])
    yield from _encoded(events[middle:])


def deliver(stream: Sink, records: Sequence[OutRecord], retries: Retries) -> None:
    """Put all records, or raise `StreamUnavailable`."""
    give_up_at = retries.elapsed() + retries.deadline
    for chunk in _chunks(records):
        _put(stream, chunk, retries, give_up_at)


def _put(stream: Sink, records: list[OutRecord], retries: Retries, give_up_at: float) -> None:
    wait = retries.first_wait
    while True:
        outcomes = stream.put(records)
        refused = [
            (record, outcome.error)
            for record, outcome in zip(records, outcomes, strict=True)
            if not outcome.sequence_number
        ]
        if not refused:
            return
        pause = retries.jitter() * wait
        if retries.elapsed() + pause > give_up_at:
            raise StreamUnavailable(f"{len(refused)} of {len(records)} records were refused: {refused[0][1]}")
        retries.sleep(pause)
        records = [record for record, _ in refused]
        wait = min(2 * wait, retries.longest_wait)


def _chunks(records: Sequence[OutRecord]) -> Iterator[list[OutRecord]]:
    """Parts that one PutRecords call takes."""
    chunk: list[OutRecord] = []
    size = 0
    for record in records:
        added = len(record.data) + len(record.partition_key)
        if chunk and (len(chunk) == MAX_RECORDS_PER_PUT or size + added > MAX_BYTES_PER_PUT):
            yield chunk
            chunk, size = [], 0
        chunk.append(record)
        size += added
    if chunk:
        yield chunk
