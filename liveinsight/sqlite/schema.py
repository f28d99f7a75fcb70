"""The tables of the two files, and how an older file becomes a current one.

In: a connection. Out: a file with the current tables. A file says what it is (`application_id`) and which version of
its tables it has (`user_version`). A migration is the SQL from one version to the next; a released one never changes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from liveinsight.model.errors import LiveInsightError


class Schema(NamedTuple):
    """The tables of a file: the SQL that makes each version from the one before."""

    application_id: int
    page_bytes: int
    migrations: tuple[str, ...]

    @property
    def version(self) -> int:
        """The version of the tables that this release reads and writes."""
        return len(self.migrations)


STREAM = Schema(
    0x4C495354,
    # A put writes one page, or a few.
    4096,
    (
        """
        -- One row. `created_at` (epoch ms) is the incarnation.
        CREATE TABLE stream (created_at INTEGER NOT NULL, shards INTEGER NOT NULL);
        CREATE TABLE puts (id INTEGER PRIMARY KEY, arrived_at INTEGER NOT NULL, records BLOB NOT NULL);
        """,
    ),
)

STORE = Schema(
    0x4C49534F,
    # Of a table that is sorted by its key, a row has a quarter of a page before it needs pages of its own.
    8192,
    (
        """
        CREATE TABLE generations (generation INTEGER PRIMARY KEY);
        CREATE TABLE counters (
            generation INTEGER, kind TEXT, site TEXT, dimension TEXT, bucket INTEGER, value TEXT, shard TEXT,
            mark TEXT NOT NULL, data BLOB NOT NULL, expires_at INTEGER NOT NULL,
            PRIMARY KEY (generation, kind, site, dimension, bucket, value, shard)
        ) WITHOUT ROWID;
        CREATE TABLE counter_previews (
            generation INTEGER, site TEXT, day INTEGER, dimension TEXT, shard TEXT,
            mark TEXT NOT NULL, data BLOB NOT NULL, expires_at INTEGER NOT NULL,
            PRIMARY KEY (generation, site, day, dimension, shard)
        ) WITHOUT ROWID;
        CREATE TABLE visitors (
            generation INTEGER, site TEXT, visitor INTEGER,
            mark TEXT NOT NULL, data BLOB NOT NULL, expires_at INTEGER NOT NULL,
            PRIMARY KEY (generation, site, visitor)
        ) WITHOUT ROWID;
        CREATE TABLE visitor_previews (
            generation INTEGER, site TEXT, shard TEXT,
            mark TEXT NOT NULL, data BLOB NOT NULL, expires_at INTEGER NOT NULL,
            PRIMARY KEY (generation, site, shard)
        ) WITHOUT ROWID;
        CREATE TABLE timelines (
            generation INTEGER, site TEXT, session TEXT, first_mark TEXT, last_mark TEXT,
            visitor INTEGER NOT NULL, data BLOB NOT NULL, expires_at INTEGER NOT NULL,
            PRIMARY KEY (generation, site, session, first_mark, last_mark)
        ) WITHOUT ROWID;
        CREATE TABLE dead_letters (
            generation INTEGER, mark TEXT, shard TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
            arrived_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (generation, mark)
        );
        CREATE TABLE watermarks (
            generation INTEGER, shard TEXT, as_of INTEGER NOT NULL, closed INTEGER NOT NULL,
            incarnation INTEGER NOT NULL, fresh_as_of INTEGER NOT NULL, preview_as_of INTEGER NOT NULL,
            previewed TEXT, -- sites, as JSON; NULL for all
            PRIMARY KEY (generation, shard)
        );
        CREATE TABLE checkpoints (
            generation INTEGER, shard TEXT, incarnation INTEGER NOT NULL, sequence_number TEXT NOT NULL,
            PRIMARY KEY (generation, shard)
        );
        CREATE TABLE salts (
            generation INTEGER, day INTEGER, salt BLOB NOT NULL, expires_at INTEGER NOT NULL,
            PRIMARY KEY (generation, day)
        );
        CREATE TABLE documents (
            generation INTEGER, name TEXT, version INTEGER NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (generation, name)
        );
        """,
    ),
)
EXPIRING = (
    "counters", "counter_previews", "visitors", "visitor_previews", "timelines", "dead_letters", "salts",
)  # fmt: skip
"""Tables whose rows have `expires_at`, epoch seconds; 0 keeps a row for good."""
BY_GENERATION = (*EXPIRING, "watermarks", "checkpoints", "documents")
"""Tables whose rows belong to a generation."""


def migrate(connection: sqlite3.Connection, schema: Schema, path: Path) -> bool:
    """Bring a new or older file to the current version; returns whether anything was to do. The caller has the turn.

    Raises:
        LiveInsightError: the file is something else, or of a newer release.
    """
    found = version_of(connection, schema, path)
    if not found:
        # Both can be chosen only before the first table.
        connection.execute(f"PRAGMA page_size = {schema.page_bytes}")
        connection.execute("PRAGMA journal_mode = WAL")
    for number, statements in enumerate(schema.migrations[found:], found + 1):
        marks = f"PRAGMA application_id = {schema.application_id}; PRAGMA user_version = {number};"
        connection.executescript(f"BEGIN IMMEDIATE; {statements}; {marks} COMMIT;")
    return found < schema.version


def check_version(connection: sqlite3.Connection, schema: Schema, path: Path) -> None:
    """Check that a file has the current tables.

    Raises:
        LiveInsightError: it has not; the message says what to do.
    """
    found = version_of(connection, schema, path)
    if found < schema.version:
        raise LiveInsightError(
            f"{path} has tables of version {found}, this release needs {schema.version}: run `liveinsight init` while "
            "nothing else uses it"
        )


def version_of(connection: sqlite3.Connection, schema: Schema, path: Path) -> int:
    """The version of a file's tables; 0 if there are none.

    Raises:
        LiveInsightError: the file is something else, or of a newer release.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        return 0
    if application_id != schema.application_id:
        raise LiveInsightError(f"{path} was not made by LiveInsight: move it away, or set LIVEINSIGHT_DATA_DIR")
    if version > schema.version:
        raise LiveInsightError(
            f"{path} has tables of version {version}, from a newer release; this one knows up to {schema.version}. "
            "Install the newer release, or restore a backup that this one has made"
        )
    return int(version)
