"""The store on Amazon DynamoDB: its parts by table, and here previews, checkpoints, salts, documents, and all items as
they are stored, for a copy to another backend."""

from __future__ import annotations

import json
from collections.abc import Sequence

from liveinsight.aws.dynamodb import (
    AFTER_ALL,
    Item,
    Statement,
    StoreTables,
    insert,
    key_item,
    translated,
    update,
)
from liveinsight.aws.dynamodb_counters import CounterTable
from liveinsight.aws.dynamodb_sessions import DeadLetterItems, VisitorTable
from liveinsight.aws.keys import (
    CHECKPOINTS,
    DOCUMENTS,
    Key,
    counter_key,
    counter_of,
    preview_key,
    salt_key,
    session_of,
    timeline_partition,
    visitor_key,
    visitor_of,
    visitor_previews_partition,
)
from liveinsight.counting.previews import (
    CounterPreview,
    VisitorPreview,
    encode_states,
)
from liveinsight.model.errors import StoreUnavailable
from liveinsight.storage.items import PAGE_ITEMS, Page, Salt, StoredChunk, StoredCounter, StoredItem, StoredVisitor
from liveinsight.storage.store import (
    SHARD_END,
    Checkpoint,
    Document,
)
from liveinsight.storage.stream import shard_tag


class DynamoStore(CounterTable, VisitorTable, DeadLetterItems):
    """A `liveinsight.storage.store.Store`. Thread safe."""

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
        # Mostly there is an older preview to update. One that is refused twice is not older than this one.
        first = self._dynamo.execute([statement for statement, _ in statements])
        second = self._dynamo.execute([statements[index][1] for index in first.refused])
        if first.unconfirmed or second.unconfirmed:
            raise StoreUnavailable("previews were not confirmed")

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
        # Refused when another worker has a later checkpoint, which is fine.
        self._dynamo.put_if(
            self._sessions,
            key_item((CHECKPOINTS, shard_id)) | body,
            "attribute_not_exists(pk) OR incarnation < :incarnation"
            " OR (incarnation = :incarnation AND checkpoint_rank < :rank)",
            {":incarnation": incarnation, ":rank": rank},
        )

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
        # If an answer was lost and the request retried, the document is stored already.
        if self.load_document(name) == document:
            return True
        if verdicts.unconfirmed:
            raise StoreUnavailable(f"document {name} was not written")
        return False


class DynamoItems(StoreTables):
    """A `liveinsight.storage.items.ItemStore`: scans of the two tables. Thread safe."""

    def page(self, after: str = "") -> Page | None:
        tables = self._counters, self._sessions
        number: int
        key: Key | None
        number, key = json.loads(after) if after else (0, None)
        if number == len(tables):
            return None
        request: Item = {"ExclusiveStartKey": key_item(key)} if key else {}
        with translated():
            answer = self._dynamo.client.scan(
                TableName=tables[number], Limit=PAGE_ITEMS, ConsistentRead=True, **request
            )
        last = answer.get("LastEvaluatedKey")
        position = (number, (last["pk"]["S"], last["sk"]["S"])) if last else (number + 1, None)
        return Page([item for found in answer["Items"] if (item := _stored(found))], json.dumps(position))

    def put_items(self, items: Sequence[StoredItem]) -> None:
        for table, kinds in self._tables():
            self._dynamo.put(table, [_as_item(item) for item in items if isinstance(item, kinds)])

    def differing(self, items: Sequence[StoredItem]) -> list[StoredItem]:
        found = []
        for table, kinds in self._tables():
            wanted = {_key_of(item): item for item in items if isinstance(item, kinds)}
            stored = self._dynamo.get(table, list(wanted), consistent=True)
            by_key = {(item["pk"]["S"], item["sk"]["S"]): item for item in stored}
            found += [item for key, item in wanted.items() if by_key.get(key) != _as_item(item)]
        return found

    def _tables(self) -> tuple[tuple[str, tuple[type[StoredItem], ...]], ...]:
        return (self._counters, (StoredCounter,)), (self._sessions, (StoredVisitor, StoredChunk))

    def salts(self, days: Sequence[int]) -> list[Salt]:
        by_key = {salt_key(day): day for day in days}
        items = self._dynamo.get(self._sessions, list(by_key), consistent=True)
        return [
            Salt(by_key[item["pk"]["S"], item["sk"]["S"]], item["salt"]["B"], int(item["ttl"]["N"])) for item in items
        ]


def _key_of(item: StoredItem) -> Key:
    match item:
        case StoredCounter():
            return counter_key(item.key, item.shard_id)
        case StoredVisitor():
            return visitor_key(item.site, item.visitor)
        case StoredChunk():
            partition = timeline_partition(item.site, item.session_id)
            return partition, f"{item.first_mark}{AFTER_ALL}{item.last_mark}"


def _as_item(item: StoredItem) -> Item:
    match item:
        case StoredCounter():
            body: Item = {"m": {"S": item.mark}, "b": {"B": item.data}}
        case StoredVisitor():
            body = {"m": {"S": item.mark}, "s": {"B": item.data}}
        case StoredChunk():
            body = {"v": {"N": str(item.visitor)}, "e": {"B": item.data}}
    if item.expires_at:
        body["ttl"] = {"N": str(item.expires_at)}
    return key_item(_key_of(item)) | body


def _stored(item: Item) -> StoredItem | None:
    """Inverse of `_as_item`; None for items of other kinds."""
    key = item["pk"]["S"], item["sk"]["S"]
    expires_at = int(item["ttl"]["N"]) if "ttl" in item else 0
    if counter := counter_of(key):
        return StoredCounter(*counter, item["m"]["S"], item["b"]["B"], expires_at)
    if visitor := visitor_of(key):
        return StoredVisitor(*visitor, item["m"]["S"], item["s"]["B"], expires_at)
    if session := session_of(key):
        first, _, last = key[1].partition(AFTER_ALL)
        return StoredChunk(*session, first, last, int(item["v"]["N"]), item["e"]["B"], expires_at)
    return None


def _replacing(
    table: str, key: Key, preview: CounterPreview | VisitorPreview, body: bytes
) -> tuple[Statement, Statement]:
    """Statements that write a preview over an older one, and where there is none."""
    mark = {"S": preview.mark}
    attributes: Item = {"m": mark, "b": {"B": body}, "ttl": {"N": str(preview.expires_at)}}
    return update(table, key, attributes, '"m" < ?', mark), insert(table, key, attributes)


def _rank(sequence_number: str) -> str:
    return AFTER_ALL if sequence_number == SHARD_END else f"{len(sequence_number):03d}{sequence_number}"
