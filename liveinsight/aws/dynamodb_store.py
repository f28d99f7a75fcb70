"""The store on Amazon DynamoDB: items to and from our types. What the calls promise stands in `store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from liveinsight.aws.dynamodb import (
    AFTER_ALL,
    PART_BYTES,
    Dynamo,
    Item,
    Statement,
    between,
    insert,
    key_item,
    translated,
    update,
)
from liveinsight.aws.dynamodb_dead_letters import DeadLetterItems
from liveinsight.aws.keys import (
    CHECKPOINTS,
    DOCUMENTS,
    WATERMARKS,
    Key,
    bucket_of,
    bucket_text,
    counter_key,
    dimension_partition,
    minutes_partition,
    preview_key,
    previewing_shard,
    salt_key,
    shard_tag,
    site_and_day,
    timeline_partition,
    totals_partition,
    utc_days_of_quarters,
    value_key,
    value_of,
    visitor_key,
    visitor_previews_partition,
)
from liveinsight.aws.schema import TableNames
from liveinsight.counting.counters import CounterItem, decode_counter, encode_counter, split_totals
from liveinsight.counting.keys import CounterKey, dimension_key
from liveinsight.counting.layout import QUARTERS_PER_ITEM, storage_item
from liveinsight.counting.previews import (
    CounterPreview,
    PreviewRow,
    VisitorPreview,
    decode_rows,
    decode_states,
    encode_states,
    on_top,
)
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.counting.timeline import Marked, decode_timeline, encode_timeline, in_timeline_order
from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.ids import visitor_of
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.store import (
    SHARD_END,
    Checkpoint,
    CounterWrite,
    DeadLetter,
    DeadLetterSummary,
    Document,
    Read,
    TimelineChunk,
    VisitorKey,
    VisitorWrite,
    Watermark,
    Written,
    tail_of,
    visitors_read,
)


class DynamoStore:
    """A `liveinsight.storage.store.Store`. Thread safe."""

    def __init__(self, dynamo: Dynamo, names: TableNames) -> None:
        self._dynamo = dynamo
        self._counters = names.counters
        self._sessions = names.sessions
        self._dead_letters = DeadLetterItems(dynamo, names.sessions)

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        by_stored = {counter_key(key, shard): key for key in keys}
        items = self._dynamo.get(self._counters, list(by_stored), consistent=True)
        return {by_stored[item["pk"]["S"], item["sk"]["S"]]: _counter(item) for item in items}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        return Written(*self._dynamo.execute([self._counter_statement(shard, write) for write in writes]))

    def _counter_statement(self, shard: str, write: CounterWrite) -> Statement:
        key = counter_key(write.key, shard)
        attributes: Item = {"m": {"S": write.item.mark}, "b": {"B": write.data or encode_counter(write.item)}}
        if write.expires_at:
            attributes["ttl"] = {"N": str(write.expires_at)}
        if write.expected == NO_MARK:
            return insert(self._counters, key, attributes)
        return update(self._counters, key, attributes, '"m" = ?', {"S": write.expected})

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        items = self._dynamo.get(self._sessions, [visitor_key(*key) for key in keys], consistent=True)
        states = [decode_visitor(item["s"]["B"]) for item in items]
        return {(state.site, state.visitor): state for state in states}

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        """New states are inserted, others updated; where the hint was wrong, the other way is tried once."""
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
                # Both ends are in the key: a chunk cut elsewhere never replaces one with more in it.
                key = (partition, f"{events[0][0]}{AFTER_ALL}{events[-1][0]}")
                body = {
                    "e": {"B": encode_timeline(events)},
                    "v": {"N": str(chunk.visitor)},
                    "ttl": {"N": str(chunk.expires_at)},
                }
                items.append(key_item(key) | body)
        self._dynamo.put(self._sessions, items)

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        self._dead_letters.write(records)

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        tag = shard_tag(shard)
        statements = [
            _replacing(self._counters, preview_key(each.site, each.day, each.dimension, tag), each, each.rows)
            for each in counters
        ]
        for one in visitors:
            key = visitor_previews_partition(one.site), tag
            statements.append(_replacing(self._sessions, key, one, encode_states(one)))
        # A preview of the day before is there, most often; what is refused twice is as new as this one.
        first = self._dynamo.execute([statement for statement, _ in statements])
        second = self._dynamo.execute([statements[index][1] for index in first.refused])
        if first.unconfirmed or second.unconfirmed:
            raise StoreUnavailable("previews were not confirmed")

    def write_watermark(self, watermark: Watermark) -> None:
        condition = (
            "attribute_not_exists(pk) OR incarnation < :incarnation OR (incarnation = :incarnation AND is_closed = :no"
        )
        values: Item = {":incarnation": {"N": str(watermark.incarnation)}, ":no": {"BOOL": False}}
        if not watermark.closed:
            condition += " AND as_of <= :as_of AND fresh_as_of <= :fresh_as_of AND preview_as_of <= :preview_as_of"
            condition += " AND (as_of < :as_of OR fresh_as_of < :fresh_as_of OR preview_as_of < :preview_as_of)"
            values[":as_of"] = {"N": str(watermark.as_of)}
            values[":fresh_as_of"] = {"N": str(watermark.fresh_as_of)}
            values[":preview_as_of"] = {"N": str(watermark.preview_as_of)}
        body: Item = {
            "as_of": {"N": str(watermark.as_of)},
            "fresh_as_of": {"N": str(watermark.fresh_as_of)},
            "preview_as_of": {"N": str(watermark.preview_as_of)},
            "is_closed": {"BOOL": watermark.closed},
            "incarnation": {"N": str(watermark.incarnation)},
        }
        key = (WATERMARKS, watermark.shard_id)
        self._dynamo.put_if(self._counters, key_item(key) | body, condition + ")", values)

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        items = self._dynamo.query(self._sessions, CHECKPOINTS, ConsistentRead=True)
        return {item["sk"]["S"]: Checkpoint(int(item["incarnation"]["N"]), item["sequence"]["S"]) for item in items}

    def write_checkpoint(self, shard_id: str, checkpoint: Checkpoint) -> None:
        rank = {"S": _rank(checkpoint.sequence_number)}
        incarnation = {"N": str(checkpoint.incarnation)}
        body: Item = {
            "incarnation": incarnation,
            "sequence": {"S": checkpoint.sequence_number},
            "checkpoint_rank": rank,
        }
        # Refused when another worker is further: its checkpoint is as good as ours.
        self._dynamo.put_if(
            self._sessions,
            key_item((CHECKPOINTS, shard_id)) | body,
            "attribute_not_exists(pk) OR incarnation < :incarnation"
            " OR (incarnation = :incarnation AND checkpoint_rank < :rank)",
            {":incarnation": incarnation, ":rank": rank},
        )

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        items: list[Item] = []
        first_bucket = first_quarter - first_quarter % QUARTERS_PER_ITEM
        span = between(bucket_text(first_bucket), bucket_text(last_quarter) + AFTER_ALL)
        for day in utc_days_of_quarters(first_bucket, last_quarter):
            items.extend(self._dynamo.query(self._counters, totals_partition(site, day), **span))
        read = _by_bucket(items)
        return Read(split_totals(read.rows, first_quarter, last_quarter), read.items_read)

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        host, name = storage_item(dimension_key(site, day, dimension, ""))
        items = self._dynamo.query(self._counters, dimension_partition(site, day, host.dimension))
        rows = []
        marks: dict[str, str] = {}
        previews: list[tuple[str, list[PreviewRow]]] = []
        for item in items:
            sort_key = item["sk"]["S"]
            if tag := previewing_shard(sort_key):
                previews.append((tag, decode_rows(item["b"]["B"])))
            else:
                marks[sort_key] = item["m"]["S"]
                rows.append((value_of(sort_key), _counter(item)))
        partial = False
        for tag, previewed in previews:
            shown, in_part = on_top(previewed, marks, value_key(tag, ""))
            rows.extend(shown)
            partial |= in_part
        if name:
            rows = [(value, item.embedded[name]) for value, item in rows if name in item.embedded]
        return Read(rows, len(items), partial)

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        span = between(bucket_text(first_minute), bucket_text(last_minute) + AFTER_ALL)
        return _by_bucket(self._dynamo.query(self._counters, minutes_partition(site, dimension), **span))

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

    def read_watermarks(self) -> Read[Watermark]:
        items = self._dynamo.query(self._counters, WATERMARKS)
        rows = [
            Watermark(
                item["sk"]["S"],
                int(item["as_of"]["N"]),
                item["is_closed"]["BOOL"],
                int(item["incarnation"]["N"]),
                int(item["fresh_as_of"]["N"]),
                int(item["preview_as_of"]["N"]),
            )
            for item in items
        ]
        return Read(rows, len(rows))

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        return self._dead_letters.summaries(limit, after)

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        return self._dead_letters.load(mark)

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        self._dead_letters.delete(marks)

    def salt_of_day(self, day: int, candidate: bytes, expires_at: int) -> bytes:
        key = salt_key(day)
        body = {"salt": {"B": candidate}, "ttl": {"N": str(expires_at)}}
        self._dynamo.execute([insert(self._sessions, key, body)])
        items = self._dynamo.get(self._sessions, [key], consistent=True)
        salt: bytes = items[0]["salt"]["B"]
        return salt

    def load_document(self, name: str) -> Document:
        items = self._dynamo.get(self._sessions, [(DOCUMENTS, name)], consistent=True)
        return Document(int(items[0]["version"]["N"]), items[0]["text"]["S"]) if items else Document()

    def save_document(self, name: str, document: Document) -> bool:
        body = {"version": {"N": str(document.version)}, "text": {"S": document.text}}
        if document.version == 1:
            statement = insert(self._sessions, (DOCUMENTS, name), body)
        else:
            statement = update(
                self._sessions, (DOCUMENTS, name), body, '"version" = ?', {"N": str(document.version - 1)}
            )
        verdicts = self._dynamo.execute([statement])
        if not any(verdicts):
            return True
        # An answer may have been lost, and the request sent again: then the document is there, word for word.
        if self.load_document(name) == document:
            return True
        if verdicts.unconfirmed:
            raise StoreUnavailable(f"document {name} was not written")
        return False

    def counted_days(self) -> set[tuple[str, int]]:
        request: dict[str, Any] = {
            "TableName": self._counters,
            "ProjectionExpression": "pk",
            "FilterExpression": "begins_with(pk, :dimensions)",
            "ExpressionAttributeValues": {":dimensions": {"S": "d#"}},
        }
        days: set[tuple[str, int]] = set()
        while True:
            with translated():
                answer = self._dynamo.client.scan(**request)
            days.update(site_and_day(item["pk"]["S"]) for item in answer["Items"])
            if not answer.get("LastEvaluatedKey"):
                return days
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _counter(item: Item) -> CounterItem:
    return decode_counter(item["b"]["B"], item["m"]["S"])


def _replacing(
    table: str, key: Key, preview: CounterPreview | VisitorPreview, body: bytes
) -> tuple[Statement, Statement]:
    """Write a preview where there is an older one, or where there is none."""
    mark = {"S": preview.mark}
    attributes: Item = {"m": mark, "b": {"B": body}, "ttl": {"N": str(preview.expires_at)}}
    return update(table, key, attributes, '"m" < ?', mark), insert(table, key, attributes)


def _events_of(chunks: Iterable[Item]) -> list[Marked]:
    return [pair for chunk in chunks for pair in decode_timeline(chunk["e"]["B"])]


def _visitors_of(site: str, session_id: str, chunks: Iterable[Item]) -> set[int]:
    visitors = {int(chunk["v"]["N"]) for chunk in chunks}
    named = visitor_of(site, session_id)
    return visitors if named is None else {*visitors, named}


def _by_bucket(items: list[Item]) -> Read[tuple[int, CounterItem]]:
    return Read([(bucket_of(item["sk"]["S"]), _counter(item)) for item in items], len(items))


def _rank(sequence_number: str) -> str:
    return AFTER_ALL if sequence_number == SHARD_END else f"{len(sequence_number):03d}{sequence_number}"


def _split(events: Sequence[Marked]) -> Iterator[Sequence[Marked]]:
    """Halve until each part fits an item."""
    if len(events) > 1 and len(encode_timeline(events)) > PART_BYTES:
        middle = len(events) // 2
        yield from _split(events[:middle])
        yield from _split(events[middle:])
    else:
        yield events
