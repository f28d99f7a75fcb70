"""Lambda as the tests need it: the events it sends, the context it gives, and a function to invoke.

Events have the shape that AWS sends: JSON with Base64 data.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from liveinsight.aws.lambda_mapping import Mappings
from liveinsight.model.events import Event, encode_record, partition_key
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.storage.stream import OutRecord, Record, StartAt
from liveinsight.testing.builders import FakeClock, an_event
from liveinsight.testing.expected import differences, recount, stored_in
from liveinsight.testing.faulty_store import Crash
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from processor.aws_lambda.batch import BatchCounter
from processor.aws_lambda.handler import Handler
from processor.shard.options import ProcessorOptions

OPTIONS = ProcessorOptions(counters_interval=1, previews_interval=2, sessions_interval=3)
ARN = "arn:aws:kinesis:eu-central-1:123456789012:stream/shop"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:count"
ROOT = "shardId-000000000000"
WELL = Mappings([], True, "")
"""A mapping as the function needs it."""


def as_event(shard_id: str, records: Sequence[Record], arn: str = ARN) -> dict[str, Any]:
    """What Lambda sends for these records, through JSON as it comes."""
    entries = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": record.sequence_number,
                "data": base64.b64encode(record.data).decode(),
                "approximateArrivalTimestamp": record.arrived_at / 1000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id}:{record.sequence_number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "eu-central-1",
            "eventSourceARN": arn,
        }
        for record in records
    ]
    event: dict[str, Any] = json.loads(json.dumps({"Records": entries}))
    return event


class Invocation:
    """Lambda's context."""

    invoked_function_arn = FUNCTION

    def __init__(self, clock: FakeClock, seconds: float = 60) -> None:
        self._clock = clock
        self.killed_at = clock() + round(seconds * 1000)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self.killed_at - self._clock())


class Function:
    """A function that counts a stream into a store. Every invocation has a cold container."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.stream = MemoryStream(clock, shards=1)
        self.store = MemoryStore()
        self.mappings = WELL
        self.records_per_step = 500
        self._placed: list[tuple[str, Event]] = []

    def container(self, newest: Callable[[], int] = lambda: 1) -> Handler:
        """A container that stays warm for as long as the test uses it."""
        counter = BatchCounter(
            self.stream,
            self.store,
            OPTIONS,
            self.clock,
            lambda seconds: self.clock.advance(seconds=seconds),
            records_per_step=self.records_per_step,
        )
        return Handler("shop", self.stream, counter, lambda *_: self.mappings, self.clock, newest=newest)

    def invoke(self, records: Sequence[Record], *, shard_id: str = ROOT, seconds: float = 60) -> list[str]:
        """Sequence numbers of the records that the answer names as failed."""
        answer = self.container()(as_event(shard_id, records), Invocation(self.clock, seconds))
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def put(self, events: int = 1) -> None:
        """Put events of as many visitors, each in a record of its own."""
        for _ in range(events):
            number = len(self._placed) + 1
            event = an_event(at=self.clock(), visitor=number, event_id=number)
            where = self.stream.put([OutRecord(partition_key(event.visitor), encode_record([event]))])[0]
            mark = record_mark(mark_prefix(self.stream.incarnation(), where.shard_id), where.sequence_number)
            self._placed.append((event_mark(mark, 0), event))

    def put_undecodable(self, records: int = 1) -> None:
        self.stream.put([OutRecord("b001", b"not ours")] * records)

    def records(self, shard_id: str = ROOT) -> list[Record]:
        """All that a shard holds."""
        iterator = self.stream.iterator(shard_id, after=None, start=StartAt.TRIM_HORIZON)
        return self.stream.read(iterator, 1000).records

    @contextmanager
    def slow_store(self, seconds: float) -> Iterator[None]:
        """Reading visitors takes so long."""
        load = self.store.load_visitors

        def slow(keys: Any) -> Any:
            self.clock.advance(seconds=seconds)
            return load(keys)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.store, "load_visitors", slow)
            yield

    @contextmanager
    def failing_store(self, operation: str, error: type[BaseException]) -> Iterator[None]:
        """An operation of the store always fails."""

        def fail(*_: Any) -> None:
            raise error("away")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.store, operation, fail)
            yield

    def die_before(self, operation: str, records: Sequence[Record]) -> None:
        """Invoke it; Lambda ends the container in the middle."""
        with self.failing_store(operation, Crash), pytest.raises(Crash):
            self.invoke(records)

    def checkpoint(self) -> str:
        """The sequence number that is stored for the only shard, or ""."""
        stored = self.store.checkpoints.get(ROOT)
        return stored.sequence_number if stored else ""

    def wrong(self, part: slice = slice(None)) -> list[str]:
        """How the store differs from a recount of the events that were put, or of some of them."""
        return differences(stored_in(self.store), recount(self._placed[part]))

    def wrong_counters(self) -> bool:
        """Whether any counter differs, whatever else is stored."""
        return stored_in(self.store).counters != recount(self._placed).counters
