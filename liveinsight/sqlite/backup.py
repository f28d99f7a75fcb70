"""Backups: both files as one SQLite file, made while everything runs.

In: the files of a data folder. Out: one file with the tables of both, and a table `backup` that says what it is.

**The store is copied first, then the stream**, each as of one moment. What the stream then has beyond the store, the
worker counts after a restore, as after a crash. The other way round, marks and checkpoints of the store would be beyond
the end of the stream: what is accepted next would get numbers that are counted already, and never be counted.

Promises: a backup has its name only when it is whole, checked and on the disk. A copy waits for no writer, and no
writer for it; meanwhile the write-ahead log of the file that is being copied only grows.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from liveinsight import __version__
from liveinsight.model.errors import LiveInsightError
from liveinsight.sqlite.database import connect, explained
from liveinsight.sqlite.schema import STORE, STREAM, Schema, version_of

APPLICATION_ID = 0x4C494242
FORMAT = 1
"""Version of the `backup` table."""
PAGE_BYTES = 8192
PROGRESS_STEPS = 200_000
"""Steps of SQLite's machine between two calls about progress."""
IN_ORDER = {"store.db": STORE, "stream.db": STREAM}
"""The files by name, in the order in which they are copied."""

Progress = Callable[[int, int], None]
"""Takes the bytes that are written and those that are expected."""


class About(NamedTuple):
    """What a backup says about itself."""

    made_at: int
    """Epoch ms."""
    release: str
    store_version: int
    stream_version: int


def back_up(folder: Path, path: Path, made_at: int, progress: Progress) -> int:
    """Write a backup of the files in `folder` to `path`, which it replaces; returns its size in bytes.

    Args:
        folder: the data folder.
        path: of the backup. Beside it `<path>.part` is written first.
        made_at: the time now, epoch ms.
        progress: called now and then.

    Raises:
        LiveInsightError: a file cannot be read, or the backup not be written, or another one is being written there.
    """
    part = path.with_name(f"{path.name}.part")
    with _exclusively(part) as opened, naming(f"backup to {part}"), closing(connect(part)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        # It is thrown away if anything fails.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        versions = [_attach(connection, folder / name, schema) for name, schema in IN_ORDER.items()]
        expected = sum(_bytes_used(connection, _alias(name)) for name in IN_ORDER)
        with watched(connection, part, expected, progress):
            for (name, schema), version in zip(IN_ORDER.items(), versions, strict=True):
                copy_tables(connection, _alias(name), schema, version)
        connection.execute("CREATE TABLE backup (made_at INTEGER, release TEXT, store INTEGER, stream INTEGER)")
        connection.execute("INSERT INTO backup VALUES (?, ?, ?, ?)", [made_at, __version__, *versions])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        check_whole(connection, part)
        connection.close()
        os.fsync(opened)
        os.replace(part, path)
        sync_folder(path.parent)
        return os.fstat(opened).st_size


def about(path: Path) -> About:
    """What a backup says about itself.

    Raises:
        LiveInsightError: it is no backup, or of a newer release.
    """
    if not path.is_file():
        raise LiveInsightError(f"{path}: there is no such file")
    with naming(str(path)), closing(connect(path, "ro")) as connection:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        if application_id != APPLICATION_ID:
            raise LiveInsightError(f"{path} is no backup of LiveInsight")
        (release,) = connection.execute("SELECT release FROM backup").fetchone()
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found <= FORMAT:
            known = About(*connection.execute("SELECT made_at, release, store, stream FROM backup").fetchone())
            versions = zip((known.store_version, known.stream_version), IN_ORDER.values(), strict=True)
        if found > FORMAT or any(version > schema.version for version, schema in versions):
            raise LiveInsightError(
                f"{path} was made by LiveInsight {release}, a newer release than this one ({__version__}): install the "
                "newer one, or take an older backup"
            )
        return known


def sync_folder(folder: Path) -> None:
    """Make names of files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _exclusively(part: Path) -> Iterator[int]:
    """An empty file that only this process writes; it is removed if it is still there in the end."""
    try:
        opened = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LiveInsightError(f"{part}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The other one may have renamed it just now.
            mine = os.stat(part).st_ino == os.fstat(opened).st_ino
        except OSError:
            mine = False
        if not mine:
            raise LiveInsightError(f"{part} is being written by another backup")
        os.ftruncate(opened, 0)
        try:
            yield opened
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    finally:
        os.close(opened)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Errors of SQLite and of the system as `LiveInsightError` about `what`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LiveInsightError(f"{what}: {explained(error)}") from error
    except OSError as error:
        raise LiveInsightError(f"{what}: {error.strerror}") from error


def _attach(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """Attach a file of a data folder; returns the version of its tables."""
    if not path.exists():
        raise LiveInsightError(f"{path} is missing: is LIVEINSIGHT_DATA_DIR right?")
    with closing(connect(path)) as source:
        version = version_of(source, schema, path)
    connection.execute(f"ATTACH ? AS {_alias(path.name)}", [uri_of(path, "rw")])
    return version


def _alias(name: str) -> str:
    return name.partition(".")[0] + "_file"


def uri_of(path: Path, mode: str) -> str:
    """A file for ATTACH; `mode` as of `connect`."""
    return f"file:{quote(str(path))}?mode={mode}"


def copy_tables(connection: sqlite3.Connection, source: str, schema: Schema, version: int) -> None:
    """Make the tables of a version, and fill them from an attached file, as of one moment."""
    before = set(_tables(connection))
    for statements in schema.migrations[:version]:
        connection.executescript(statements)
    connection.execute("BEGIN")
    for table in _tables(connection):
        if table not in before:
            # With equal tables on both sides, SQLite copies rows as they are.
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM {source}.{table}")
    connection.execute("COMMIT")


def _tables(connection: sqlite3.Connection) -> Sequence[str]:
    return [name for (name,) in connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]


def _bytes_used(connection: sqlite3.Connection, source: str) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {source}.{name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


@contextmanager
def watched(connection: sqlite3.Connection, made: Path, expected: int, progress: Progress) -> Iterator[None]:
    """Calls `progress` while statements write the file `made`."""
    connection.set_progress_handler(lambda: progress(made.stat().st_size, expected), PROGRESS_STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Read all of a file.

    Raises:
        LiveInsightError: it is damaged.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise LiveInsightError(f"{path} is damaged: {found}")
