"""The store in SQLite: counters and visitors elsewhere, here previews, checkpoints, dead letters, salts, documents."""

from __future__ import annotations

from collections.abc import Sequence

from liveinsight.counting.previews import CounterPreview, VisitorPreview, encode_states
from liveinsight.sqlite.counters import CounterTables
from liveinsight.sqlite.visitors import VisitorTables
from liveinsight.storage.store import Checkpoint, DeadLetter, DeadLetterSummary, Document

_NEWER = "mark = excluded.mark, data = excluded.data, expires_at = excluded.expires_at WHERE mark < excluded.mark"


class SqliteStore(CounterTables, VisitorTables):
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

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        rows = [
            (self._generation, each.mark, each.shard_id, each.reason, each.message, each.arrived_at, each.expires_at,
             len(each.data), each.data)
            for each in records
        ]  # fmt: skip
        with self._database.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT shard, mark, reason, arrived_at, size FROM dead_letters WHERE generation = ? AND mark > ? "
                "ORDER BY mark LIMIT ?",
                [self._generation, after, limit],
            )
            return [DeadLetterSummary(*row) for row in rows]

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT shard, mark, reason, message, data, arrived_at, expires_at FROM dead_letters "
                "WHERE generation = ? AND mark = ?",
                [self._generation, mark],
            ).fetchone()
        return DeadLetter(*row) if row else None

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        with self._database.writing() as connection:
            connection.executemany(
                "DELETE FROM dead_letters WHERE generation = ? AND mark = ?",
                [(self._generation, mark) for mark in marks],
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
