"""Helpers of these tests: traffic, counting as a worker does, and everything that a store answers."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from liveinsight.counting.counters import CounterItem, merge_items
from liveinsight.counting.keys import LIVE, SEEN
from liveinsight.counting.rollups import BY_NAME
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import TimelineEvent
from liveinsight.model.buckets import MINUTE_MS, day_number, days_between, quarter_of
from liveinsight.model.clock import Clock
from liveinsight.model.events import CLICK, PAGE_VIEW, Event, encode_record, partition_key
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.store import DeadLetterStore, ReadStore, Store, VisitorKey
from liveinsight.storage.stream import OutRecord, StartAt, Stream
from liveinsight.testing.builders import MemoryStore, MemoryStream, an_event
from liveinsight.testing.expected import as_folded, dead_letters_in, stored_in
from liveinsight.testing.simulation import random_log
from processor.shard.checkpoints import StoreCheckpointer
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

Entry = Event | bytes
"""An event, or bytes that are no record."""
SITE = "default"
HOUR_MS = 3_600_000


def traffic(rng: random.Random, start: int, *, visits: int = 0) -> list[Entry]:
    """A day: tricky visitors (`random_log`), and `visits` of others, each in two parts with something in between."""
    tricky = random_log(rng, 120, start, SITE)
    first, second = [], []
    for number in range(visits):
        at, page = start + 60_000 * (number % 600), f"/article/{number % (visits // 3 + 1)}"
        view = an_event(at=at, visitor=10_000 + number, event_id=10**6 + 2 * number, page=page, source="Google")
        first.append(view)
        second.append(replace(view, event_id=view.event_id + 1, occurred_at=at + 9_000, received_at=at + 9_000,
                              type=rng.choice([PAGE_VIEW, CLICK]), page="/next"))  # fmt: skip
    half = len(tricky) // 2
    return [*tricky[:half], *first, *second, *tricky[half:]]


def put(stream: Stream, entries: Iterable[Entry]) -> None:
    """Each entry as a record, some records a put."""
    records = [
        OutRecord("b007", entry)
        if isinstance(entry, bytes)
        else OutRecord(partition_key(entry.visitor), encode_record([entry]))
        for entry in entries
    ]
    for at in range(0, len(records), 100):
        assert all(outcome.sequence_number for outcome in stream.put(records[at : at + 100]))


def count(stream: Stream, store: Store, clock: Clock) -> None:
    """Count what is on the stream beyond the checkpoints."""
    checkpoints, incarnation = store.load_checkpoints(), stream.incarnation()
    for shard in stream.shards():
        processor = RecordProcessor(store, incarnation, ProcessorOptions(dead_letter_limit=1), clock)
        point = checkpoints.get(shard.shard_id)
        after = point.sequence_number if point and point.incarnation == incarnation else None
        checkpointer = StoreCheckpointer(store, shard.shard_id, incarnation)
        processor.initialize(shard.shard_id, after or "")
        iterator: str | None = stream.iterator(shard.shard_id, after=after, start=StartAt.TRIM_HORIZON)
        while iterator:
            batch = stream.read(iterator, 50)
            processor.process_records(batch.records, checkpointer, 0)
            iterator = batch.next_iterator if batch.records or batch.millis_behind else None
        processor.shutdown_requested(checkpointer)


Key = TypeVar("Key")
Numbers = tuple[dict[str, int], dict[int, int], int]
"""Measures, page views by hour, visitors."""


class Answers(NamedTuple):
    """All that a store answers, the shards added up, without marks."""

    totals: dict[int, Numbers]
    breakdowns: dict[tuple[int, str, str], Numbers]
    minutes: dict[tuple[str, int], Numbers]
    visitors: dict[VisitorKey, VisitorState]
    timelines: dict[str, list[TimelineEvent]]
    dead_letters: list[tuple[str, bytes, int]]


class Scope(NamedTuple):
    """What to ask for."""

    first_at: int
    last_at: int
    visitors: Collection[int]
    sessions: Collection[str]


def in_one_run(entries: Sequence[Entry], clock: Clock) -> tuple[Scope, MemoryStore]:
    """Everything counted once, from one stream into one store in memory."""
    stream, store = MemoryStream(clock), MemoryStore()
    put(stream, entries)
    count(stream, store, clock)
    times = [entry.occurred_at for entry in entries if isinstance(entry, Event)]
    visitors = {entry.visitor for entry in entries if isinstance(entry, Event)}
    sessions = {name for _, name in stored_in(store).timelines}
    return Scope(min(times), max(times), visitors, sessions), store


def answers(store: ReadStore, letters: DeadLetterStore, scope: Scope) -> Answers:
    """All answers of a store within `scope`."""
    first, last = scope.first_at // MINUTE_MS, scope.last_at // MINUTE_MS
    days = days_between(utc_day(scope.first_at), utc_day(scope.last_at))
    return Answers(
        _added_up(store.read_totals(SITE, quarter_of(scope.first_at), quarter_of(scope.last_at)).rows),
        {
            (day, name, value): numbers_of
            for day in map(day_number, days)
            for name in BY_NAME
            for value, numbers_of in _added_up(store.read_dimension(SITE, day, name).rows).items()
        },
        {
            (kind, minute): numbers_of
            for kind in ("", LIVE, SEEN)
            for minute, numbers_of in _added_up(store.read_minutes(SITE, first, last, kind).rows).items()
        },
        {
            (state.site, state.visitor): replace(as_folded(state), mark=NO_MARK)
            for state in store.read_visitors([(SITE, visitor) for visitor in scope.visitors]).rows
        },
        {name: [event for _, event in store.read_timeline(SITE, name, 1_000).rows] for name in scope.sessions},
        sorted((letter.reason, letter.data, letter.arrived_at) for letter in dead_letters_in(letters)),
    )


def utc_day(at: int) -> date:
    """The day of a time in epoch ms."""
    return datetime.fromtimestamp(at / 1000, UTC).date()


def _added_up(rows: Iterable[tuple[Key, CounterItem]]) -> dict[Key, Numbers]:
    by_key: dict[Key, list[CounterItem]] = {}
    for key, item in rows:
        by_key.setdefault(key, []).append(item)
    found = {}
    for key, items in by_key.items():
        total = merge_items(items)
        measures = {name: amount for name, amount in total.measures.items() if amount}
        if measures:
            found[key] = measures, {hour: views for hour, views in total.hours.items() if views}, total.visitors
    return found
