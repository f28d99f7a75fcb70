"""Events go onto the stream, and it is noted where each of them went.

Only receipts need that. A request's events go out by themselves, not together with those of other requests, so that
record and index of each are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.delivery.direct import Retries, deliver, records_of
from liveinsight.model.events import Event, decode_record, partition_key
from liveinsight.storage.stream import OutRecord, PutOutcome, Sink


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an event is: shard, record, and place in the record."""

    shard_id: str
    sequence_number: str
    index: int


def place(stream: Sink, events: Sequence[Event], retries: Retries) -> list[Placement]:
    """Put all events, and tell where each is, in their order.

    Raises:
        StreamUnavailable: nothing is promised; send them all again.
    """
    records: list[tuple[OutRecord, list[int]]] = []
    buckets: dict[str, list[int]] = {}
    for number, event in enumerate(events):
        buckets.setdefault(partition_key(event.visitor), []).append(number)
    for numbers in buckets.values():
        waiting = iter(numbers)
        made = records_of([events[number] for number in numbers])
        for record in made:
            count = len(numbers) if len(made) == 1 else len(decode_record(record.data))
            records.append((record, [next(waiting) for _ in range(count)]))
    noting = _Noting(stream)
    deliver(noting, [record for record, _ in records], retries)
    places: dict[int, Placement] = {}
    for record, numbers in records:
        taken = noting.taken[record]
        for index, number in enumerate(numbers):
            places[number] = Placement(taken.shard_id, taken.sequence_number, index)
    return [places[number] for number in range(len(events))]


class _Noting:
    """The part of a stream that delivery uses; remembers what was taken."""

    def __init__(self, stream: Sink) -> None:
        self._stream = stream
        self.taken: dict[OutRecord, PutOutcome] = {}

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        outcomes = self._stream.put(records)
        self.taken.update(
            (record, outcome) for record, outcome in zip(records, outcomes, strict=True) if outcome.sequence_number
        )
        return outcomes
