"""One SQLite file, shared by threads and processes: connections, transactions, and errors translated.

In: a path and a `Schema`. Out: connections for reading, and transactions. Promises: a transaction is on the disk when
it ends without an error (write-ahead log, `synchronous=FULL`). An error rolls it back, closes its connection, so that
the next call begins afresh, and becomes the error class that the file's users expect.

Writers of all processes take turns at a lock file. SQLite's own waiting sleeps for up to 100 ms between two looks, and
lets whoever looks first have the turn.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote
from weakref import WeakSet

from liveinsight.model.errors import LiveInsightError
from liveinsight.sqlite.schema import Schema, check_version, migrate

BUSY_SECONDS = 5.0
"""How long to wait for a program that does not take turns, such as the sqlite3 shell."""
CACHE_KB = 2_000
"""Pages that each connection keeps; the system caches the rest."""
LOG_BYTES = 64 << 20
"""The write-ahead log is cut back to this size when it begins anew."""
LOG_PAGES = 8_192
"""At this length of the log, the next commit moves its pages into the file, while everybody waits. It is the bound for
when nothing calls `shorten_log`."""
LONG_LOG_PAGES = 2_048

_ADVICE = {
    "SQLITE_FULL": "the disk is full: free some space, and it continues by itself",
    "SQLITE_READONLY": "the file or its folder is read-only for this process",
    "SQLITE_CANTOPEN": "the file cannot be opened: is its folder there, and readable and writable for this process?",
    "SQLITE_CORRUPT": "the file is damaged: restore a backup with `liveinsight restore`",
    "SQLITE_NOTADB": "the file is no database: restore a backup with `liveinsight restore`",
    "SQLITE_BUSY": "another program holds the file",
}
_MOVE_PAGES = "PRAGMA wal_checkpoint(PASSIVE)"
_all: WeakSet[Database] = WeakSet()
_left_by_fork: list[object] = []
"""Connections of the parent process. Closing one here could remove files that the parent uses."""


class Database:
    """A file and the connections to it. Thread safe; it may be made before a fork.

    Args:
        path: of the file, which `create` has made.
        schema: what it holds.
        error: the class of temporary errors: `StreamUnavailable` or `StoreUnavailable`.
    """

    def __init__(self, path: Path, schema: Schema, error: type[LiveInsightError]) -> None:
        self.path = path
        self._schema = schema
        self._error = error
        self._idle: deque[sqlite3.Connection] = deque()
        self._turn = threading.Lock()
        self._turn_file: int | None = None
        _all.add(self)

    def create(self) -> bool:
        """Create the file, or bring an older one up to date; returns whether anything was to do.

        Raises:
            LiveInsightError: the file is something else, of a newer release, or cannot be written.
        """
        with self._translated(), self.turn(), closing(connect(self.path, "rwc")) as connection:
            return migrate(connection, self._schema, self.path)

    def check_version(self) -> None:
        """Check that an existing file is one of this release.

        Raises:
            LiveInsightError: it is not; the message says what to do.
        """
        # A file that cannot be read now may be read later: whoever uses it will tell.
        with suppress(self._error):
            if self.path.exists():
                with self._translated(), closing(connect(self.path)) as connection:
                    check_version(connection, self._schema, self.path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection whose queries all see the same state of the file."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. It is on the disk after the block."""
        with self._connected() as connection, self.turn():
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def statement(self) -> Iterator[sqlite3.Connection]:
        """A connection for one writing statement, which is a transaction of its own."""
        with self._connected() as connection, self.turn():
            yield connection

    def shorten_log(self) -> None:
        """Move the pages of the log into the file, so that the log begins anew. To be called every second or so.

        Writers go on meanwhile. As long as they do, the log does not end: when it is long, they wait for the pages of
        the last moments.
        """
        with self._connected() as connection:
            _, pages, _ = connection.execute(_MOVE_PAGES).fetchone()
            if pages > LONG_LOG_PAGES:
                with self.turn():
                    connection.execute(_MOVE_PAGES)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The right to write, which one thread of all processes has."""
        with self._turn:
            if self._turn_file is None:
                self._turn_file = os.open(f"{self.path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._turn_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._turn_file, fcntl.LOCK_UN)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            idle = self._idle
            try:
                connection = idle.pop()
            except IndexError:
                connection = self._open()
            try:
                yield connection
            except BaseException as error:
                # Whatever state it is in, the next call gets a new one. Closing rolls back.
                with suppress(sqlite3.Error):
                    connection.close()
                if isinstance(error, sqlite3.DatabaseError):
                    self.close()
                raise
            if idle is self._idle:
                idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close all connections, those in use after their use.

        The connections of a process share what SQLite knows of the file: when one was opened while the file was
        read-only, no other can write before all are closed.
        """
        idle, self._idle = self._idle, deque()
        while idle:
            with suppress(IndexError):
                idle.pop().close()

    def _leave_to_parent(self) -> None:
        """In the child of a fork: begin without connections, and without a turn of the parent."""
        _left_by_fork.append(self._idle)
        self._idle, self._turn = deque(), threading.Lock()
        if self._turn_file is not None:
            # The parent's lock would outlive it as long as this is open.
            os.close(self._turn_file)
            self._turn_file = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except sqlite3.DatabaseError as error:
            raise self._error(f"{self.path}: {explained(error)}") from error
        except OSError as error:
            raise self._error(f"{error.filename}: {error.strerror}") from error

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            raise self._error(f"{self.path} is missing: run `liveinsight init` or `liveinsight up`")
        if _is_cut(self.path):
            raise self._error(f"{self.path}: {_ADVICE['SQLITE_CORRUPT']} (it is shorter than it says)")
        connection = connect(self.path)
        try:
            check_version(connection, self._schema, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def _after_fork() -> None:
    for database in list(_all):
        database._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)


def _is_cut(path: Path) -> bool:
    """Whether a file has lost its end. SQLite takes what is missing of a page for zeros.

    The header has the size of a page at offset 16 and the number of pages at 28: see "Database File Format" of SQLite.
    Pages that are still in the write-ahead log may be missing in the file.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return False
    with path.open("rb") as file:
        header = file.read(100)
    page_bytes, pages = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
    return path.stat().st_size < page_bytes * pages


class GenerationTables:
    """What the parts of the store share: the file, and the generation whose rows they read and write."""

    def __init__(self, database: Database, generation: int) -> None:
        self._database = database
        self._generation = generation


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread.

    Args:
        path: of the file.
        mode: "rw"; "rwc" creates the file; "ro" only reads.

    Raises:
        sqlite3.DatabaseError: the file cannot be opened.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    # Some libraries fill what is deleted with zeros, page by page. FAST does so where it costs nothing.
    connection.execute("PRAGMA secure_delete = FAST")
    return connection


def explained(error: sqlite3.DatabaseError) -> str:
    """What went wrong, or what to do about it."""
    name = getattr(error, "sqlite_errorname", "")
    advice = next((text for prefix, text in _ADVICE.items() if name.startswith(prefix)), "")
    return f"{advice or error} ({name})" if name else str(error)
