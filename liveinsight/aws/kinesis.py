"""The stream on Amazon Kinesis: calls and errors translated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.model.errors import IteratorExpired, StreamRefused, StreamUnavailable, no_answer
from liveinsight.storage.stream import OutRecord, PutOutcome, Record, RecordBatch, Shard, StartAt

if TYPE_CHECKING:
    from types_boto3_kinesis import KinesisClient

_TEMPORARY = {
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ResourceInUseException",
    "InternalFailure",
    "ServiceUnavailable",
    "ThrottlingException",
    "KMSThrottlingException",
}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "ExpiredIteratorException":
            raise IteratorExpired(code) from error
        if code in _TEMPORARY or status >= 500:
            raise StreamUnavailable(code) from error
        raise StreamRefused(f"Kinesis refused: {error}") from error
    except BotoCoreError as error:
        raise StreamUnavailable(no_answer("Kinesis", type(error).__name__)) from error


class KinesisStream:
    """A `liveinsight.storage.stream.Stream`. Thread safe, as boto3 clients are."""

    def __init__(self, client: KinesisClient, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        with _translated():
            answer = self._client.put_records(
                StreamName=self._name,
                Records=[{"PartitionKey": record.partition_key, "Data": record.data} for record in records],
            )
        return [
            PutOutcome(entry.get("ShardId") or "", entry.get("SequenceNumber") or "", entry.get("ErrorCode") or "")
            for entry in answer["Records"]
        ]

    def incarnation(self) -> int:
        with _translated():
            answer = self._client.describe_stream_summary(StreamName=self._name)
        return int(answer["StreamDescriptionSummary"]["StreamCreationTimestamp"].timestamp() * 1000)

    def shards(self) -> list[Shard]:
        shards: list[Shard] = []
        request: dict[str, Any] = {"StreamName": self._name}
        while True:
            with _translated():
                answer = self._client.list_shards(**request)
            for shard in answer["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                shards.append(Shard(shard["ShardId"], tuple(parent for parent in parents if parent)))
            if not answer.get("NextToken"):
                return sorted(shards)
            request = {"NextToken": answer["NextToken"]}

    def iterator(self, shard_id: str, *, after: str | None, start: StartAt) -> str:
        position: dict[str, Any] = (
            {"ShardIteratorType": start.value}
            if after is None
            else {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        )
        with _translated():
            answer = self._client.get_shard_iterator(StreamName=self._name, ShardId=shard_id, **position)
        return answer["ShardIterator"]

    def read(self, iterator: str, limit: int) -> RecordBatch:
        with _translated():
            answer = self._client.get_records(ShardIterator=iterator, Limit=limit)
        records = [
            Record(
                record["SequenceNumber"],
                record["PartitionKey"],
                record["Data"],
                int(record["ApproximateArrivalTimestamp"].timestamp() * 1000),
            )
            for record in answer["Records"]
        ]
        return RecordBatch(records, answer.get("NextShardIterator") or None, answer.get("MillisBehindLatest", 0))
