"""Decodes the records of one shard and gives every event its mark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from liveinsight.model.errors import UndecodableRecord
from liveinsight.model.events import Event, decode_record
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.storage.store import DeadLetter
from liveinsight.storage.stream import Record
from processor.shard.dead_letter_limit import DeadLetterLimit

DEAD_LETTER_DAYS = 30


class MarkedEvent(NamedTuple):
    """An event and its position in the stream."""

    mark: str
    event: Event


class Decoded(NamedTuple):
    """What a batch of records holds, in the order of the stream."""

    events: list[MarkedEvent]
    dead_letters: list[DeadLetter]


class RecordDecoder:
    """Decodes records of one shard.

    Args:
        shard_id: the shard.
        incarnation: of the stream.
        limit: refuses when too many records cannot be decoded.
    """

    def __init__(self, shard_id: str, incarnation: int, limit: DeadLetterLimit) -> None:
        self._shard_id = shard_id
        self._prefix = mark_prefix(incarnation, shard_id)
        self._limit = limit

    def decode(self, records: Iterable[Record]) -> Decoded:
        """Decode a batch.

        Raises:
            TooManyDeadLetters: the limit is exceeded.
        """
        decoded = Decoded([], [])
        for record in records:
            mark = record_mark(self._prefix, record.sequence_number)
            try:
                events = decode_record(record.data)
            except UndecodableRecord as error:
                self._limit.note_undecodable(self._shard_id, error)
                decoded.dead_letters.append(self._dead_letter(record, mark, error))
                continue
            self._limit.note_decoded()
            decoded.events.extend(MarkedEvent(event_mark(mark, index), event) for index, event in enumerate(events))
        return decoded

    def _dead_letter(self, record: Record, mark: str, error: UndecodableRecord) -> DeadLetter:
        expires_at = record.arrived_at // 1000 + DEAD_LETTER_DAYS * 86_400
        return DeadLetter(self._shard_id, mark, error.reason, str(error), record.data, record.arrived_at, expires_at)
