"""The store on Amazon DynamoDB: its parts by table, and here previews, checkpoints, salts and documents."""

from __future__ import annotations

from collections.abc import Sequence

from liveinsight.aws.dynamodb import (
    AFTER_ALL,
    Item,
    Statement,
    insert,
    key_item,
    update,
)
from liveinsight.aws.dynamodb_counters import CounterTable
from liveinsight.aws.dynamodb_sessions import DeadLetterItems, VisitorTable
from liveinsight.aws.keys import (
    CHECKPOINTS,
    DOCUMENTS,
    Key,
    preview_key,
    salt_key,
    visitor_previews_partition,
)
from liveinsight.counting.previews import (
    CounterPreview,
    VisitorPreview,
    encode_states,
)
from liveinsight.model.errors import StoreUnavailable
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


def _replacing(
    table: str, key: Key, preview: CounterPreview | VisitorPreview, body: bytes
) -> tuple[Statement, Statement]:
    """Statements that write a preview over an older one, and where there is none."""
    mark = {"S": preview.mark}
    attributes: Item = {"m": mark, "b": {"B": body}, "ttl": {"N": str(preview.expires_at)}}
    return update(table, key, attributes, '"m" < ?', mark), insert(table, key, attributes)


def _rank(sequence_number: str) -> str:
    return AFTER_ALL if sequence_number == SHARD_END else f"{len(sequence_number):03d}{sequence_number}"
