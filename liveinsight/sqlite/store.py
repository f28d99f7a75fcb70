"""The store in SQLite: its parts by table, and here previews, checkpoints, salts and documents."""

from __future__ import annotations

from collections.abc import Sequence

from liveinsight.counting.previews import CounterPreview, VisitorPreview, encode_states
from liveinsight.sqlite.counters import CounterTables
from liveinsight.sqlite.dead_letters import DeadLetterTable
from liveinsight.sqlite.visitors import VisitorTables
from liveinsight.storage.store import Checkpoint, Document

_NEWER = "mark = excluded.mark, data = excluded.data, expires_at = excluded.expires_at WHERE mark < excluded.mark"


class SqliteStore(CounterTables, VisitorTables, DeadLetterTable):
    """A `liveinsight.storage.store.Store`. Thread safe."""

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        generation = self._generation
        of_counters = [
            (generation, each.site, each.day, each.dimension, shard, each.mark, each.rows, each.expires_at)
            for each in counters
        ]
        of_visitors = [(generation, one.site, shard, one.mark, encode_states(one), one.expires_at) for one in visitors]
        with self._database.writing() as connection:
            connection.executemany(
                f"INSERT INTO counter_previews VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_NEWER}",
                of_counters,
            )
            connection.executemany(
                f"INSERT INTO visitor_previews VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_NEWER}",
                of_visitors,
            )

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT shard, incarnation, sequence_number FROM checkpoints WHERE generation = ?", [self._generation]
            )
            return {shard: Checkpoint(*point) for shard, *point in rows}

    def write_checkpoint(self, shard_id: str, checkpoint: Checkpoint) -> None:
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT incarnation, sequence_number FROM checkpoints WHERE generation = ? AND shard = ?",
                [self._generation, shard_id],
            ).fetchone()
            # Refused when another worker has a later checkpoint, which is fine.
            if row is None or Checkpoint(*row).rank < checkpoint.rank:
                connection.execute(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)", [self._generation, shard_id, *checkpoint]
                )

    def salt_of_day(self, day: int, candidate: bytes, expires_at: int) -> bytes:
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO salts VALUES (?, ?, ?, ?)", [self._generation, day, candidate, expires_at]
            )
            row = connection.execute(
                "SELECT salt FROM salts WHERE generation = ? AND day = ?", [self._generation, day]
            ).fetchone()
        salt: bytes = row[0]
        return salt

    def load_document(self, name: str) -> Document:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT version, text FROM documents WHERE generation = ? AND name = ?", [self._generation, name]
            ).fetchone()
        return Document(*row) if row else Document()

    def save_document(self, name: str, document: Document) -> bool:
        key = self._generation, name
        with self._database.writing() as connection:
            if document.version == 1:
                done = connection.execute("INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?)", (*key, *document))
            else:
                done = connection.execute(
                    "UPDATE documents SET version = ?, text = ? WHERE generation = ? AND name = ? AND version = ?",
                    (*document, *key, document.version - 1),
                )
            return bool(done.rowcount)
