"""Visitors' states and the timelines of their sessions.

In: encoded states and chunks of events. Out: states and ordered events, previews included. `liveinsight.storage.store`
says what each method promises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from liveinsight.counting.previews import decode_states
from liveinsight.counting.sessions import VisitorState, decode_visitor
from liveinsight.counting.timeline import Marked, decode_timeline, encode_timeline, in_timeline_order
from liveinsight.model.ids import visitor_of
from liveinsight.sqlite.database import GenerationTables
from liveinsight.storage.store import Read, TimelineChunk, VisitorKey, VisitorWrite, Written, tail_of, visitors_read

SIGN = 1 << 63
"""Visitors have 64 bits without a sign, integers of SQLite have a sign."""
_WRITE = (
    "INSERT INTO visitors VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "mark = excluded.mark, data = excluded.data, expires_at = excluded.expires_at WHERE mark < excluded.mark"
)


class VisitorTables(GenerationTables):
    """The methods of a `Store` about visitors and sessions. Thread safe."""

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        with self._database.reading() as connection:
            return self._states(connection, keys)

    def _states(self, connection: sqlite3.Connection, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        found = {}
        for key in keys:
            row = connection.execute(
                "SELECT data FROM visitors WHERE generation = ? AND site = ? AND visitor = ?", self._visitor_key(key)
            ).fetchone()
            if row:
                found[key] = decode_visitor(row[0])
        return found

    def _visitor_key(self, key: VisitorKey) -> tuple[int, str, int]:
        return self._generation, key[0], key[1] - SIGN

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        written = Written()
        with self._database.writing() as connection:
            for index, write in enumerate(writes):
                row = (*self._visitor_key(write.key), write.mark, write.data, write.expires_at)
                if not connection.execute(_WRITE, row).rowcount:
                    written.refused.append(index)
        return written

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        rows = [
            (
                self._generation,
                chunk.site,
                chunk.session_id,
                # Both ends are in the key, so that a chunk with other ends never replaces this one.
                chunk.events[0][0],
                chunk.events[-1][0],
                chunk.visitor - SIGN,
                encode_timeline(chunk.events),
                chunk.expires_at,
            )
            for chunk in chunks
        ]
        with self._database.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO timelines VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def read_visitors(self, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        with self._database.reading() as connection:
            return self._shown(connection, keys)

    def _shown(self, connection: sqlite3.Connection, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        """Stored and previewed states."""
        previews = [
            decode_states(data)
            for site in sorted({site for site, _ in keys})
            for (data,) in connection.execute(
                "SELECT data FROM visitor_previews WHERE generation = ? AND site = ?", [self._generation, site]
            )
        ]
        return visitors_read(keys, list(self._states(connection, keys).values()), previews)

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        with self._database.reading() as connection:
            chunks = connection.execute(
                "SELECT visitor, data FROM timelines WHERE generation = ? AND site = ? AND session = ? "
                "ORDER BY first_mark, last_mark LIMIT ?",
                [self._generation, site, session_id, limit],
            ).fetchall()
            visitors = {visitor + SIGN for visitor, _ in chunks}
            if (named := visitor_of(site, session_id)) is not None:
                visitors.add(named)
            known = self._shown(connection, [(site, visitor) for visitor in visitors])
        events = [pair for _, data in chunks for pair in decode_timeline(data)]
        tail = tail_of(known.rows, session_id)
        return Read(in_timeline_order([*events, *tail], limit), len(chunks) + known.items_read, known.partial)
