"""Restores: the files of a data folder from a backup.

In: a file that `backup` has made. Out: the files of a data folder in their place, and those that were there aside.
Promises: nothing that was there is deleted, and nothing is moved before the new files are whole and on the disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.folder_lock import DATA_LOCK, WORKER_LOCK, held
from liveinsight.sqlite.backup import (
    IN_ORDER,
    Progress,
    about,
    check_whole,
    copy_tables,
    naming,
    sync_folder,
    uri_of,
    watched,
)
from liveinsight.sqlite.database import connect
from liveinsight.sqlite.schema import migrate

RESTORED = ".restored"
LOCKS = (DATA_LOCK, WORKER_LOCK)
"""Files of a data folder that whoever uses it locks."""


def unpack(path: Path, folder: Path, progress: Progress) -> None:
    """Write the files of a data folder from a backup, beside those that are there: `store.db.restored` and so on.

    They are brought up to date and are on the disk afterwards. `put_in_place` gives them their names.

    Raises:
        LiveInsightError: the backup cannot be read or is damaged, or the files cannot be written.
    """
    known = about(path)
    with naming(str(path)), closing(connect(path, "ro")) as connection:
        check_whole(connection, path)
    versions = known.store_version, known.stream_version
    for (name, schema), version in zip(IN_ORDER.items(), versions, strict=True):
        made = folder / f"{name}{RESTORED}"
        made.unlink(missing_ok=True)
        with naming(str(made)), closing(connect(made, "rwc")) as connection:
            connection.execute(f"PRAGMA page_size = {schema.page_bytes}")
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("ATTACH ? AS source", [uri_of(path, "ro")])
            with watched(connection, made, path.stat().st_size, progress):
                copy_tables(connection, "source", schema, version)
            connection.execute(f"PRAGMA application_id = {schema.application_id}")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("DETACH source")
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, schema, made)
        _give_to_owner(made)
        with made.open("rb") as file:
            os.fsync(file.fileno())


def files_of(folder: Path) -> list[Path]:
    """The files of a data folder that a restore replaces, with their logs."""
    names = [f"{name}{ending}" for name in IN_ORDER for ending in ("", "-wal", "-shm")]
    return [folder / name for name in names if (folder / name).exists()]


def put_in_place(folder: Path, aside: Path) -> None:
    """Move the files of a data folder to `aside`, and what `unpack` has written to their place.

    A log goes before another file gets its name: it would be taken for the log of that one.

    Raises:
        LiveInsightError: a file cannot be moved.
    """
    with naming(str(folder)):
        present = files_of(folder)
        if present:
            aside.mkdir(parents=True)
        for path in present:
            path.rename(aside / path.name)
        for name in IN_ORDER:
            (folder / f"{name}{RESTORED}").rename(folder / name)
        sync_folder(folder)


@contextmanager
def unused(folder: Path, now: int) -> Iterator[None]:
    """Holds a data folder, so that nothing begins to use it meanwhile; `now` is in epoch ms.

    Raises:
        LiveInsightError: something uses it.
    """
    with ExitStack() as stack:
        for name in LOCKS:
            stack.enter_context(held(folder / name, "liveinsight restore", now))
            _give_to_owner(folder / name)
        for name in IN_ORDER:
            if (folder / name).exists() and _is_open(folder / name):
                raise LiveInsightError(f"{folder / name} is in use: stop LiveInsight first")
        yield


def _give_to_owner(path: Path) -> None:
    """What root writes in a folder of the service's user is that user's, too."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _is_open(path: Path) -> bool:
    """Whether another process has a connection to a file. Of a damaged one that is not known."""
    try:
        with closing(sqlite3.connect(uri_of(path, "rw"), uri=True, timeout=0)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as error:
        return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
    return False
