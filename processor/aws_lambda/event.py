"""Parses the event of a Kinesis event source mapping.

In: the event, as Lambda decodes it. Out: the records of one shard in order. Refuses what would break exactly-once
counting: tumbling windows, several shards in one event, records out of order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from liveinsight.model.errors import LiveInsightError
from liveinsight.storage.stream import Record


class LambdaRefused(LiveInsightError):
    """The event source mapping is configured, or behaves, so that exactly-once counting is impossible."""


class ShardBatch(NamedTuple):
    """The records of one invocation."""

    source_arn: str
    stream_name: str
    shard_id: str
    records: list[Record]


class _Payload(msgspec.Struct, rename="camel"):
    sequence_number: str
    partition_key: str
    data: bytes
    approximate_arrival_timestamp: float


class _Entry(msgspec.Struct, rename={"event_id": "eventID", "source_arn": "eventSourceARN"}):
    kinesis: _Payload
    event_id: str
    source_arn: str


class _KinesisEvent(msgspec.Struct, rename={"entries": "Records"}):
    entries: list[_Entry]


def parse_event(event: dict[str, Any]) -> ShardBatch:
    """The batch in an event.

    Raises:
        LambdaRefused: the event is not one of a correctly configured Kinesis mapping; the message says what to change.
    """
    if "window" in event or "isFinalInvokeForWindow" in event:
        raise LambdaRefused("the event source mapping has a tumbling window: remove TumblingWindowInSeconds")
    try:
        entries = msgspec.convert(event, _KinesisEvent).entries
    except msgspec.ValidationError as error:
        raise LambdaRefused(f"this is not an event of a Kinesis event source mapping: {error}") from error
    sources = {(entry.event_id.partition(":")[0], entry.source_arn) for entry in entries}
    if len(sources) != 1:
        # An answer names the first record to retry, but no shard.
        raise LambdaRefused(f"an event must hold records of one shard of one stream, this one has {len(sources)}")
    ((shard_id, source_arn),) = sources
    batch = ShardBatch(source_arn, _stream_name(source_arn), shard_id, [_record(entry.kinesis) for entry in entries])
    numbers = [int(record.sequence_number) for record in batch.records]
    if numbers != sorted(set(numbers)):
        raise LambdaRefused(f"the records of shard {shard_id} are not in the order of the stream")
    return batch


def _stream_name(source_arn: str) -> str:
    """The stream name in the ARN of a stream or of an enhanced fan-out consumer."""
    return source_arn.partition(":stream/")[2].partition("/")[0]


def _record(payload: _Payload) -> Record:
    arrived_at = round(payload.approximate_arrival_timestamp * 1000)
    return Record(payload.sequence_number, payload.partition_key, payload.data, arrived_at)
