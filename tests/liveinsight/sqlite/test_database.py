"""The database module: turns among processes and threads, forks, damaged and read-only files."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from liveinsight.model.errors import LiveInsightError, StoreUnavailable, StreamRefused
from liveinsight.settings import Settings
from liveinsight.sqlite.database import Database
from liveinsight.sqlite.schema import Schema
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.wiring import open_stream

NUMBERS = Schema(7, 4096, ("CREATE TABLE numbers (writer INTEGER, number INTEGER)",))
WRITERS, WRITES = 3, 150
IN_CI = os.environ.get("CI") == "true"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "numbers.db", NUMBERS, StoreUnavailable)
    assert database.create()
    return database


def write_many(path: Path, writer: int) -> None:
    """From two threads."""
    database = Database(path, NUMBERS, StoreUnavailable)

    def write(first: int) -> None:
        for number in range(first, WRITES, 2):
            with database.writing() as connection:
                connection.execute("INSERT INTO numbers VALUES (?, ?)", [writer, number])

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def read_while(database: Database, stop: threading.Event, seen: list[int]) -> None:
    while not stop.is_set():
        with database.reading() as connection:
            seen.append(connection.execute("SELECT count(*) FROM numbers").fetchone()[0])


def test_processes_and_threads_take_turns(database: Database) -> None:
    """Nobody is told that the file is locked, no write is lost, and a reader sees only ever more of them."""
    stop, seen = threading.Event(), list[int]()
    reader = threading.Thread(target=read_while, args=(database, stop, seen), daemon=True)
    reader.start()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(database.path, n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    stop.set()
    reader.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    with database.reading() as connection:
        rows = Counter(connection.execute("SELECT writer, number FROM numbers").fetchall())
    assert rows == Counter((writer, number) for writer in range(WRITERS) for number in range(WRITES))
    assert seen == sorted(seen)


def test_a_writer_waits_for_its_turn_however_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long write of somebody else is waited out: longer than SQLite itself would wait."""
    monkeypatch.setattr("liveinsight.sqlite.database.BUSY_SECONDS", 0.05)
    other = Database(database.path, NUMBERS, StoreUnavailable)
    with ThreadPoolExecutor(1) as pool:
        with database.writing() as connection:
            connection.execute("INSERT INTO numbers VALUES (0, 0)")
            waiting = pool.submit(write_one, other)
            time.sleep(0.5)
            assert not waiting.done()
        waiting.result(30)
    with database.reading() as connection:
        assert connection.execute("SELECT * FROM numbers").fetchall() == [(0, 0), (1, 1)]


def hold_the_turn(path: Path) -> None:
    with Database(path, NUMBERS, StoreUnavailable).writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (9, 9)")
        (path.parent / "held").touch()
        time.sleep(60)


def test_the_turn_of_a_killed_process_is_free(database: Database) -> None:
    """Who dies in the middle of a write leaves neither the write nor the turn behind."""
    holder = multiprocessing.get_context("spawn").Process(target=hold_the_turn, args=(database.path,))
    holder.start()
    while not (database.path.parent / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with database.writing() as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    """An error in the middle rolls back; the next call works."""

    def write_and_fail() -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO numbers VALUES (1, 1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with database.writing() as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_a_child_of_a_fork_opens_connections_of_its_own(database: Database) -> None:
    """The parent's connections are neither used nor closed: both go on, and nothing is lost."""
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (0, 0)")
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            with database.writing() as connection:
                connection.execute("INSERT INTO numbers VALUES (1, 1)")
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (2, 2)")
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (3,)


def hold_the_turn_in_a_thread(database: Database) -> None:
    """Until the process ends."""
    taken = threading.Event()

    def hold() -> None:
        with database.turn():
            taken.set()
            time.sleep(60)

    threading.Thread(target=hold, daemon=True).start()
    taken.wait()


def test_a_child_of_a_fork_does_not_keep_the_turn_of_its_parent(database: Database) -> None:
    """The parent dies while it holds the turn, and its child lives on: the turn is free."""
    ours, theirs = os.pipe()
    parent = os.fork()
    if not parent:
        hold_the_turn_in_a_thread(Database(database.path, NUMBERS, StoreUnavailable))
        child = os.fork()
        if not child:
            os.close(ours)
            time.sleep(60)
            os._exit(0)
        os.write(theirs, str(child).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(os.read(ours, 20))
    os.close(ours)
    os.close(theirs)
    try:
        waiting = threading.Thread(target=write_one, args=(database,), daemon=True)
        waiting.start()
        waiting.join(5)
        assert not waiting.is_alive()
    finally:
        os.kill(child, signal.SIGKILL)


def write_one(database: Database) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES (1, 1)")


def use_while_read_only(path: Path, thawed: Event, told: Connection) -> None:
    """Read twice at once while the file cannot be written; then write, and tell how often that has failed."""
    database = Database(path, NUMBERS, StoreUnavailable)
    with database.reading() as one, database.reading() as other:
        for connection in (one, other):
            connection.execute("SELECT * FROM numbers").fetchall()
    told.send("read")
    thawed.wait()
    for failures in range(10):
        with contextlib.suppress(StoreUnavailable):
            write_one(database)
            told.send(failures)
            return
    told.send("never")


def test_a_file_that_was_read_only_is_written_again(database: Database) -> None:
    """One write fails at most, however many connections have been opened meanwhile."""
    write_one(database)
    files = [file for file in database.path.parent.iterdir() if file.name.startswith(database.path.name)]
    if subprocess.run(["chattr", "+i", *files], capture_output=True, check=False).returncode:
        message = "needs root, and a file system with immutable files"
        pytest.fail(message) if IN_CI else pytest.skip(message)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    thawed = context.Event()
    user = context.Process(target=use_while_read_only, args=(database.path, thawed, theirs))
    try:
        user.start()
        assert ours.recv() == "read"
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)
    thawed.set()
    assert ours.recv() in {0, 1}
    user.join()


def test_a_stream_that_has_lost_its_end_is_refused(on_sqlite: Settings) -> None:
    """A stream without its log ends before what is counted: what is put next would never be read."""
    stream = open_stream(on_sqlite)
    outcome = stream.put([OutRecord("b001", b"x")])[0]
    further = str(int(outcome.sequence_number) + 1_000)
    stream.iterator(outcome.shard_id, after=outcome.sequence_number, start=StartAt.TRIM_HORIZON)
    with pytest.raises(StreamRefused, match="liveinsight check"):
        stream.iterator(outcome.shard_id, after=further, start=StartAt.TRIM_HORIZON)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing"])
def test_a_damaged_file_is_an_error_that_says_what_to_do(on_sqlite: Settings, damage: str) -> None:
    """Nothing is accepted, and nothing is read as if it were whole."""
    stream = open_stream(on_sqlite)
    stream.put([OutRecord("b001", bytes(20_000)) for _ in range(20)])
    path = Path(on_sqlite.data_dir) / "stream.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if damage == "truncated":
        os.truncate(path, 5_000)
    elif damage == "garbage":
        path.write_bytes(os.urandom(20_000))
    else:
        path.unlink()
    for file in path.parent.glob("stream.db-*"):
        file.unlink()
    afresh = open_stream(on_sqlite)
    for call in (
        lambda: afresh.put([OutRecord("b001", b"x")]),
        lambda: afresh.read(afresh.iterator("shardId-000000000000", after=None, start=StartAt.TRIM_HORIZON), 100),
    ):
        with pytest.raises(LiveInsightError, match=r"liveinsight (restore|init)|move it away"):
            call()
