"""Visitors' states, the timelines of their sessions, and dead letters in the sessions table.

In: encoded states and chunks of events. Out: states and ordered events, previews included. `keys` makes the keys;
`liveinsight.storage.store` says what each method promises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from liveinsight.aws.dynamodb import (
    AFTER_ALL,
    PART_BYTES,
    Item,
    Statement,
    StoreTables,
    between,
    insert,
    key_item,
    translated,
    update,
)
from liveinsight.aws.keys import (
    DEAD_LETTERS,
    timeline_partition,
    visitor_key,
    visitor_previews_partition,
)
from liveinsight.counting.previews import (
    decode_states,
)
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.counting.timeline import Marked, decode_timeline, encode_timeline, in_timeline_order
from liveinsight.model.ids import visitor_of
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.store import (
    DeadLetter,
    DeadLetterSummary,
    Read,
    TimelineChunk,
    VisitorKey,
    VisitorWrite,
    Written,
    tail_of,
    visitors_read,
)

LAST_PART = 999
"""Highest number of a part of a dead letter that is larger than an item may be."""


class VisitorTable(StoreTables):
    """The methods of a `Store` about visitors and sessions. Thread safe."""

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        items = self._dynamo.get(self._sessions, [visitor_key(*key) for key in keys], consistent=True)
        states = [decode_visitor(item["s"]["B"]) for item in items]
        return {(state.site, state.visitor): state for state in states}

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        """Insert new states and update others; where the hint was wrong, try the other once."""
        first = self._dynamo.execute([self._visitor_statement(write, write.is_new) for write in writes])
        again = first.refused
        second = self._dynamo.execute([self._visitor_statement(writes[i], not writes[i].is_new) for i in again])
        return Written(
            [again[index] for index in second.refused],
            sorted(first.unconfirmed + [again[index] for index in second.unconfirmed]),
        )

    def _visitor_statement(self, write: VisitorWrite, is_new: bool) -> Statement:
        key = visitor_key(*write.key)
        mark = {"S": write.mark}
        attributes: Item = {"m": mark, "s": {"B": write.data}, "ttl": {"N": str(write.expires_at)}}
        if is_new:
            return insert(self._sessions, key, attributes)
        return update(self._sessions, key, attributes, '"m" < ?', mark)

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        items = []
        for chunk in chunks:
            partition = timeline_partition(chunk.site, chunk.session_id)
            for events in _split(chunk.events):
                # Both ends are in the key, so that a chunk with other ends never replaces this one.
                key = (partition, f"{events[0][0]}{AFTER_ALL}{events[-1][0]}")
                body = {
                    "e": {"B": encode_timeline(events)},
                    "v": {"N": str(chunk.visitor)},
                    "ttl": {"N": str(chunk.expires_at)},
                }
                items.append(key_item(key) | body)
        self._dynamo.put(self._sessions, items)

    def read_visitors(self, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        sites = sorted({site for site, _ in keys})
        previews = [
            decode_states(item["b"]["B"])
            for site in sites
            for item in self._dynamo.query(self._sessions, visitor_previews_partition(site))
        ]
        items = self._dynamo.get(self._sessions, [visitor_key(*key) for key in keys], consistent=False)
        return visitors_read(keys, [decode_visitor(item["s"]["B"]) for item in items], previews)

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        chunks = self._chunks(site, session_id, limit)
        read = self.read_visitors([(site, visitor) for visitor in _visitors_of(site, session_id, chunks)])
        items_read = len(chunks) + read.items_read
        events = _events_of(chunks)
        last = max((mark for mark, _ in events), default=NO_MARK)
        if any(state.spilled > last for state in read.rows):
            # A tail that became a chunk between the two reads is in neither.
            chunks = self._chunks(site, session_id, limit)
            items_read += len(chunks)
            events += _events_of(chunks)
        tail = tail_of(read.rows, session_id)
        return Read(in_timeline_order([*events, *tail], limit), items_read, read.partial)

    def _chunks(self, site: str, session_id: str, limit: int) -> list[Item]:
        return self._dynamo.query(self._sessions, timeline_partition(site, session_id), limit=limit)


class DeadLetterItems(StoreTables):
    """The methods of a `Store` about dead letters. Thread safe."""

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        items = []
        for record in records:
            parts = range(0, max(1, len(record.data)), PART_BYTES)
            for number, start in enumerate(parts):
                body = {
                    "shard": {"S": record.shard_id},
                    "reason": {"S": record.reason},
                    "message": {"S": record.message},
                    "data": {"B": record.data[start : start + PART_BYTES]},
                    "size": {"N": str(len(record.data))},
                    "number": {"N": str(number)},
                    "at": {"N": str(record.arrived_at)},
                    "ttl": {"N": str(record.expires_at)},
                }
                items.append(key_item((DEAD_LETTERS, _part_key(record.mark, number))) | body)
        self._dynamo.put(self._sessions, items)

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        names = ("sk", "shard", "reason", "at", "size")
        request = between(_part_key(after, LAST_PART), AFTER_ALL)
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in (*names, "number")}
        # Every record has one first part, and that alone tells all about it.
        request["FilterExpression"] = "#number = :first_part"
        request["range_values"][":first_part"] = {"N": "0"}
        request["ProjectionExpression"] = ", ".join(f"#{name}" for name in names)
        items = self._dynamo.query(self._sessions, DEAD_LETTERS, limit=limit, ConsistentRead=True, **request)
        return [
            DeadLetterSummary(
                item["shard"]["S"],
                item["sk"]["S"].rpartition("#")[0],
                item["reason"]["S"],
                int(item["at"]["N"]),
                int(item["size"]["N"]),
            )
            for item in items
        ]

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        parts = self._parts(mark)
        data = b"".join(part["data"]["B"] for part in parts)
        if not parts or len(data) != int(parts[0]["size"]["N"]):
            return None  # Still being written, or half deleted.
        first = parts[0]
        at, expires_at = int(first["at"]["N"]), int(first["ttl"]["N"])
        return DeadLetter(first["shard"]["S"], mark, first["reason"]["S"], first["message"]["S"], data, at, expires_at)

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        for mark in marks:
            # The first part first: with it the record is gone, and the rest of it expires if we die here.
            for part in self._parts(mark, ProjectionExpression="pk, sk"):
                with translated():
                    self._dynamo.client.delete_item(TableName=self._sessions, Key=part)

    def _parts(self, mark: str, **request: Any) -> list[Item]:
        span = between(_part_key(mark, 0), _part_key(mark, LAST_PART))
        return self._dynamo.query(self._sessions, DEAD_LETTERS, ConsistentRead=True, **span, **request)


def _part_key(mark: str, number: int) -> str:
    return f"{mark}#{number:03d}"


def _events_of(chunks: Iterable[Item]) -> list[Marked]:
    return [pair for chunk in chunks for pair in decode_timeline(chunk["e"]["B"])]


def _visitors_of(site: str, session_id: str, chunks: Iterable[Item]) -> set[int]:
    visitors = {int(chunk["v"]["N"]) for chunk in chunks}
    named = visitor_of(site, session_id)
    return visitors if named is None else {*visitors, named}


def _split(events: Sequence[Marked]) -> Iterator[Sequence[Marked]]:
    """Halve until each part fits an item."""
    if len(events) > 1 and len(encode_timeline(events)) > PART_BYTES:
        middle = len(events) // 2
        yield from _split(events[:middle])
        yield from _split(events[middle:])
    else:
        yield events
