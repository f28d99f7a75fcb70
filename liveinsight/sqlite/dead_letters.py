"""Records that could not be decoded, one row each."""

from __future__ import annotations

from collections.abc import Sequence

from liveinsight.sqlite.database import GenerationTables
from liveinsight.storage.store import DeadLetter, DeadLetterSummary


class DeadLetterTable(GenerationTables):
    """The methods of a `Store` about dead letters. Thread safe."""

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
