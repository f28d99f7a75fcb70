"""`liveinsight check`: it finds what is damaged and what does not fit together, and only that."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from liveinsight.__main__ import main
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.sqlite.stream import ROW_RECORDS
from liveinsight.testing.builders import an_event
from tests.liveinsight.sqlite.counting import count_all, put

Check = Callable[[], tuple[int, str]]


@pytest.fixture
def backend(on_sqlite: Settings) -> SqliteBackend:
    """Some events, counted."""
    backend = SqliteBackend(on_sqlite, system_clock)
    put(backend, *(an_event(visitor=number, session_id=f"s{number}") for number in range(1, 60)))
    count_all(backend)
    for file in (backend.stream_file, backend.store_file):
        file.shorten_log()
        file.close()
    return backend


@pytest.fixture
def check(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command: its exit code and all that it says."""
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", str(backend.folder))

    def run() -> tuple[int, str]:
        code = main(["check"])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def change(file: str, backend: SqliteBackend, *statements: str) -> None:
    with closing(sqlite3.connect(backend.folder / file)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount
        connection.commit()


def end_of_stream(backend: SqliteBackend) -> int:
    with backend.stream_file.reading() as connection:
        return int(connection.execute("SELECT max(id) FROM puts").fetchone()[0]) * ROW_RECORDS


def test_whole_files(backend: SqliteBackend, check: Check) -> None:
    """Exit code 0, also with everything counted up to the end of the stream."""
    code, told = check()
    assert code == 0
    assert told.splitlines() == [
        f"{backend.folder}/store.db: whole",
        f"{backend.folder}/stream.db: whole",
        "they fit together",
    ]


@pytest.mark.parametrize("file", ["store.db", "stream.db"])
def test_damaged_pages(backend: SqliteBackend, check: Check, file: str) -> None:
    """It names the file, and says what to do."""
    path = backend.folder / file
    with path.open("r+b") as opened:
        opened.seek(path.stat().st_size // 2 // 8192 * 8192)
        opened.write(b"\xa5" * 8192)
    code, told = check()
    assert code == 1
    assert str(path) in told
    assert "damaged" in told
    assert "liveinsight restore FILE" in told


def test_damage_that_no_query_meets(backend: SqliteBackend, check: Check) -> None:
    """Two indexes in one place: each page can be read, and does not have what it should."""
    with closing(sqlite3.connect(backend.folder / "store.db")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        other = "(SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_salts_1')"
        where = "name = 'sqlite_autoindex_documents_1'"
        connection.execute(f"UPDATE sqlite_schema SET rootpage = {other} WHERE {where}")
        connection.commit()
    code, told = check()
    assert code == 1
    assert "store.db is damaged: " in told


def test_a_missing_file(backend: SqliteBackend, check: Check) -> None:
    """The other one is looked at all the same."""
    (backend.folder / "store.db").unlink()
    code, told = check()
    assert code == 1
    assert "store.db is missing" in told
    assert "stream.db: whole" in told


def test_a_stream_older_than_the_store(backend: SqliteBackend, check: Check) -> None:
    """As when only one file was put back: what is put next would never be counted."""
    change("stream.db", backend, "DELETE FROM puts WHERE id > 20")
    code, told = check()
    assert code == 1
    assert "the checkpoint of shardId-000000000000 is" in told
    assert "the checkpoint of shardId-000000000001 is" in told
    assert "counters has counted up to" in told
    assert "visitors has counted up to" in told


@pytest.mark.parametrize(("position", "fits"), [(0, True), (1, False)])
def test_a_mark_at_the_end_of_the_stream(backend: SqliteBackend, check: Check, position: int, fits: bool) -> None:
    """The last place of the last row is within it, the next one is not; one row of one shard is enough."""
    beyond = end_of_stream(backend) + ROW_RECORDS - 1 + position
    change(
        "store.db",
        backend,
        f"UPDATE visitors SET mark = substr(mark, 1, 35) || '{len(str(beyond)):03d}{beyond}/00000' "
        "WHERE visitor = (SELECT min(visitor) FROM visitors)",
    )
    code, told = check()
    assert code == (0 if fits else 1)
    assert ("visitors has counted up to" in told) is not fits
    assert "checkpoint" not in told


def test_marks_that_are_none(backend: SqliteBackend, check: Check) -> None:
    """They would never compare as they should."""
    change("store.db", backend, "UPDATE counters SET mark = 'x' WHERE kind = 'totals'")
    code, told = check()
    assert code == 1
    assert "rows of counters have a mark that is none, such as 'x'" in told


def test_marks_of_another_stream(backend: SqliteBackend, check: Check) -> None:
    """A stream that was made anew counts from the start; what was counted before stays."""
    change("stream.db", backend, "UPDATE stream SET created_at = created_at + 1", "DELETE FROM puts WHERE id > 20")
    assert check()[0] == 0
