"""Backups are whole, whatever happens meanwhile, and a restore continues from them without a gap or a double count."""

from __future__ import annotations

import fcntl
import gc
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liveinsight.__main__ import main
from liveinsight.bootstrap import initialise
from liveinsight.devstack.loopback import free_port
from liveinsight.model.clock import system_clock
from liveinsight.runtime.folder_lock import DATA_LOCK, WORKER_LOCK, held
from liveinsight.runtime.retry import wait_until
from liveinsight.settings import Settings
from liveinsight.sqlite import backup
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.sqlite.schema import STORE, Schema
from liveinsight.testing.builders import an_event
from tests.liveinsight.sqlite.counting import (
    backend_of,
    count_all,
    on_stream,
    page_views,
    put,
    recounted,
    stored,
)

Run = Callable[..., int]


@pytest.fixture
def backend(on_sqlite: Settings) -> SqliteBackend:
    # Connections of the fixture's own backend would count as use.
    gc.collect()
    return SqliteBackend(on_sqlite, system_clock)


@pytest.fixture
def run(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a data folder (that of `backend` unless given); its exit code."""

    def on(*command: str | Path, folder: Path = backend.folder) -> int:
        monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", str(folder))
        return main([str(word) for word in command])

    return on


def everything(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of both files."""
    rows = {}
    for name in ("stream.db", "store.db"):
        with closing(sqlite3.connect(folder / name)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            rows.update({table: sorted(connection.execute(f"SELECT * FROM {table}")) for table in tables})
    return rows


def test_a_restored_folder_has_the_same_rows(backend: SqliteBackend, run: Run, tmp_path: Path) -> None:
    """Of all tables; and its files have the size of their pages and the log as `init` makes them."""
    put(backend, *(an_event(visitor=number) for number in range(1, 30)))
    count_all(backend)
    put(backend, an_event(visitor=30))
    file, folder = tmp_path / "backup.db", tmp_path / "restored"
    assert run("backup", file) == 0
    assert run("restore", file, folder=folder) == 0
    assert everything(folder) == everything(backend.folder)
    for name in ("stream.db", "store.db"):
        told = []
        for path in (backend.folder / name, folder / name):
            with closing(sqlite3.connect(path)) as connection:
                pragmas = ("page_size", "journal_mode", "application_id", "user_version")
                told.append([connection.execute(f"PRAGMA {pragma}").fetchone() for pragma in pragmas])
        assert told[0] == told[1]


def test_counting_goes_on_after_a_restore(backend: SqliteBackend, run: Run, tmp_path: Path) -> None:
    """What the backup's stream holds beyond its counters is counted, and so is what comes next."""
    put(backend, *(an_event(visitor=number) for number in range(1, 10)))
    count_all(backend)
    put(backend, *(an_event(visitor=number) for number in range(10, 15)))
    file, folder = tmp_path / "backup.db", tmp_path / "restored"
    assert run("backup", file) == 0
    put(backend, *(an_event(visitor=number) for number in range(15, 40)))
    count_all(backend)
    assert run("restore", file, folder=folder) == 0
    restored = backend_of(folder)
    put(restored, *(an_event(visitor=number) for number in range(50, 60)))
    count_all(restored)
    assert page_views(stored(restored)) == 24
    assert stored(restored) == recounted(restored)


def test_what_happens_between_the_two_copies(
    backend: SqliteBackend, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that are accepted and counted while the second file is copied: no mark is beyond the backup's stream."""
    put(backend, an_event(visitor=1))
    copy = backup.copy_tables

    def copy_slowly(connection: sqlite3.Connection, source: str, schema: Schema, version: int) -> None:
        copy(connection, source, schema, version)
        put(backend, *(an_event(visitor=number) for number in range(2, 30)))
        count_all(backend)

    monkeypatch.setattr(backup, "copy_tables", copy_slowly)
    file, folder = tmp_path / "backup.db", tmp_path / "restored"
    assert run("backup", file) == 0
    monkeypatch.undo()
    assert run("restore", file, folder=folder) == 0
    restored = backend_of(folder)
    # More than are missing, so that their numbers pass those that were given before.
    put(restored, *(an_event(visitor=number) for number in range(100, 200)))
    count_all(restored)
    assert stored(restored) == recounted(restored)
    assert page_views(stored(restored)) == len(on_stream(restored)) > 100


def test_existing_files_are_replaced_only_when_asked_to(
    backend: SqliteBackend, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And only backups: a slip of the hand does not cost the data."""
    file = tmp_path / "backup.db"
    assert run("backup", file) == 0
    before = file.read_bytes()
    assert run("backup", file) == 1
    assert "take another name, or --force" in capsys.readouterr().err
    put(backend, an_event())
    assert file.read_bytes() == before
    assert run("backup", "--force", file) == 0
    assert file.read_bytes() != before
    assert run("backup", "--force", backend.folder / "store.db") == 1
    assert "is no backup of LiveInsight" in capsys.readouterr().err


def test_a_failed_backup_leaves_the_last_one(
    backend: SqliteBackend, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged source: the message says so, and nothing half done is left."""
    put(backend, *(an_event(visitor=number) for number in range(1, 300)))
    backend.stream_file.shorten_log()
    file = tmp_path / "backup.db"
    assert run("backup", file) == 0
    before = file.read_bytes()
    with (backend.folder / "stream.db").open("r+b") as source:
        source.seek(3 * 4096)
        source.write(b"\xff" * 4096)
    Path(f"{backend.stream_file.path}-wal").unlink(missing_ok=True)
    assert run("backup", "--force", file) == 1
    assert "damaged" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_two_backups_to_one_file(backend: SqliteBackend, run: Run, tmp_path: Path) -> None:
    """The second says that there is another; what a killed one has left is used again."""
    part = tmp_path / "backup.db.part"
    with part.open("w") as other:
        other.write("left by a killed one")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run("backup", tmp_path / "backup.db") == 1
    assert run("backup", tmp_path / "backup.db") == 0
    assert not part.exists()


def test_a_backup_is_for_its_owner_only(backend: SqliteBackend, run: Run, tmp_path: Path) -> None:
    """It has the data of visitors."""
    assert run("backup", tmp_path / "backup.db") == 0
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


TWO_INDEXES_IN_ONE_PLACE = (
    "PRAGMA writable_schema = ON",
    "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_salts_1') "
    "WHERE name = 'sqlite_autoindex_dead_letters_1'",
)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda file: change(file, *TWO_INDEXES_IN_ONE_PLACE), "is damaged"),
        (lambda file: file.unlink(), "there is no such file"),
        (lambda file: file.write_text("a letter to my aunt " * 100), "the file is no database"),
        (lambda file: file.write_bytes(b""), "is no backup of LiveInsight"),
        (lambda file: os.truncate(file, 3 * 8192), "damaged"),
        (lambda file: change(file, "PRAGMA application_id = 7"), "is no backup of LiveInsight"),
        (
            lambda file: change(file, "UPDATE backup SET store = 99, release = '9.9'"),
            "LiveInsight 9.9, a newer release",
        ),
        (lambda file: change(file, "UPDATE backup SET stream = 99, release = '9.9'"), "install the newer one"),
        (lambda file: change(file, "PRAGMA user_version = 2"), "install the newer one"),
    ],
)
def test_other_files_are_refused(
    backend: SqliteBackend,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    told: str,
) -> None:
    """Before anything is moved; the message says what is wrong."""
    put(backend, an_event())
    file = tmp_path / "backup.db"
    assert run("backup", file) == 0
    before = everything(backend.folder)
    backend.stream_file.close()
    damage(file)
    assert run("restore", "--yes", file) == 1
    assert told in capsys.readouterr().err
    assert everything(backend.folder) == before


def test_a_restore_keeps_what_was_there(
    backend: SqliteBackend, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks first, and moves the files into a folder beside the new ones."""
    file = tmp_path / "backup.db"
    assert run("backup", file) == 0
    put(backend, an_event())
    before = everything(backend.folder)
    backend.stream_file.close()
    assert run("restore", file) == 2
    assert "confirm with --yes" in capsys.readouterr().err
    assert run("restore", "--yes", file) == 0
    assert everything(backend.folder) != before
    (aside,) = backend.folder.glob("before-restore-*")
    assert everything(aside) == before
    assert str(aside) in capsys.readouterr().out


def test_a_folder_in_use_is_not_replaced(
    backend: SqliteBackend, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither while a process has a file open nor while one holds the folder's lock."""
    file = tmp_path / "backup.db"
    assert run("backup", file) == 0
    put(backend, an_event())
    assert run("restore", "--yes", file) == 1
    assert "stream.db is in use: stop LiveInsight first" in capsys.readouterr().err
    backend.stream_file.close()
    for name in (DATA_LOCK, WORKER_LOCK):
        with held(backend.folder / name, "liveinsight up", system_clock()):
            assert run("restore", "--yes", file) == 1
        assert f"{backend.folder} is in use by `liveinsight up`" in capsys.readouterr().err
    assert run("restore", "--yes", file) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restores_belongs_to_the_folders_owner(backend: SqliteBackend, run: Run, tmp_path: Path) -> None:
    """The service runs as a user of its own, an operator often as root."""
    assert run("backup", tmp_path / "backup.db") == 0
    folder = tmp_path / "restored"
    folder.mkdir()
    os.chown(folder, 4711, 4712)
    assert run("restore", tmp_path / "backup.db", folder=folder) == 0
    assert {(file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()} == {(4711, 4712)}


def test_damaged_and_newer_files_can_be_replaced(backend: SqliteBackend, run: Run, tmp_path: Path) -> None:
    """That is what a restore is for."""
    put(backend, an_event())
    file = tmp_path / "backup.db"
    assert run("backup", file) == 0
    before = everything(backend.folder)
    backend.stream_file.close()
    change(backend.folder / "store.db", "PRAGMA user_version = 99")
    (backend.folder / "stream.db").write_bytes(b"no database" * 1000)
    assert run("restore", "--yes", file) == 0
    assert everything(backend.folder) == before


def test_a_backup_of_an_older_release_is_brought_up_to_date(
    backend: SqliteBackend, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are kept, and what has been added since is there."""
    put(backend, an_event())
    count_all(backend)
    file, folder = tmp_path / "backup.db", tmp_path / "restored"
    assert run("backup", file) == 0
    added = "ALTER TABLE documents ADD COLUMN note TEXT NOT NULL DEFAULT 'none'; CREATE TABLE extra (n INTEGER);"
    newer = STORE._replace(migrations=(*STORE.migrations, added))
    monkeypatch.setitem(backup.IN_ORDER, "store.db", newer)
    assert run("restore", file, folder=folder) == 0
    found = everything(folder)
    assert found.pop("extra") == []
    assert {row[-1] for row in found["documents"]} == {"none"}
    found["documents"] = [row[:-1] for row in found["documents"]]
    assert found == everything(backend.folder)
    # A backup before the first start of the newer release, while the tables are still the older ones.
    assert run("backup", tmp_path / "second.db") == 0
    assert run("restore", tmp_path / "second.db", folder=tmp_path / "again") == 0
    assert "extra" in everything(tmp_path / "again")


def test_aws_has_its_own_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands are for one machine."""
    monkeypatch.setenv("LIVEINSIGHT_BACKEND", "aws")
    for name in ("backup", "restore"):
        assert main([name, str(tmp_path / "backup.db")]) == 1
        assert "point-in-time recovery" in capsys.readouterr().err


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Ingest with two processes, and a worker; their data folder and ingest's port."""
    folder, port = tmp_path / "data", free_port()
    environ = {
        **os.environ,
        "LIVEINSIGHT_DATA_DIR": str(folder),
        "LIVEINSIGHT_INGEST_PORT": str(port),
        "LIVEINSIGHT_COUNTERS_INTERVAL": "0.1",
        "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3",
        "LIVEINSIGHT_POLL_INTERVAL": "0.05",
    }
    initialise(Settings.from_env({name: value for name, value in environ.items() if name.startswith("LIVEINSIGHT_")}))
    commands = (["ingest", "--workers", "2"], ["worker", "--processes", "1"])
    running = [
        subprocess.Popen([sys.executable, "-m", "liveinsight", *command], env=environ, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    yield folder, port
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.wait(30)


def send_events(port: int, stop: threading.Event, rng: random.Random, accepted: list[int]) -> None:
    """Page views of some visitors, several a request, until it is told to stop."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
    headers = {"User-Agent": agent, "Content-Type": "text/plain"}
    while not stop.is_set():
        pages = (f"https://x.example/{rng.randrange(9)}" for _ in range(5))
        views = [{"event_type": "page_view", "page_url": page, "user_id": f"u{rng.randrange(99)}"} for page in pages]
        try:
            connection.request("POST", "/collect", json.dumps(views), headers)
            answer = connection.getresponse()
            answer.read()
            accepted.append(answer.status)
        except OSError:
            connection.close()
            time.sleep(0.1)
    connection.close()


@pytest.mark.end_to_end
def test_backups_under_load(services: tuple[Path, int], run: Run, tmp_path: Path, rng: random.Random) -> None:
    """Ingest and the worker at work: each backup, restored and counted to its end, equals a recount of its stream."""
    folder, port = services
    stop = threading.Event()
    accepted: list[int] = []
    senders = [
        threading.Thread(target=send_events, args=(port, stop, random.Random(rng.random()), accepted)) for _ in range(4)
    ]
    for sender in senders:
        sender.start()
    try:
        assert wait_until(lambda: len(accepted) > 10, possible=lambda: True, seconds=30, sleep=time.sleep)
        files: list[Path] = []
        while len(files) < 6:
            time.sleep(rng.random() * 0.8)
            file = tmp_path / f"{len(files)}.db"
            assert run("backup", file, folder=folder) == 0
            files.append(file)
    finally:
        stop.set()
        for sender in senders:
            sender.join()
    counts = []
    for file in files:
        restored = tmp_path / file.stem
        assert run("restore", file, folder=restored) == 0
        again = backend_of(restored)
        counts.append(page_views(stored(again)))
        count_all(again)
        assert stored(again) == recounted(again)
    assert set(accepted) == {202}
    assert counts == sorted(counts)
    assert 0 < counts[-1] < 5 * len(accepted)
