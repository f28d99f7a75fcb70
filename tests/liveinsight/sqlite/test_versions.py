"""Files of other releases, and files that are something else: what each command says, and that nothing is changed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from liveinsight.__main__ import COMMANDS, main
from liveinsight.devstack.loopback import free_port
from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.settings import Settings
from liveinsight.sqlite.database import Database
from liveinsight.sqlite.schema import STORE

CALLS = {
    "init": [],
    "site": ["list"],
    "import-log": ["--base-url", "https://x.example", "access.log"],
    "status": [],
    "dlq": ["list"],
    "verify": [],
    "rebuild": ["status"],
    "check": [],
    "backup": ["backup.db"],
}
"""Commands that end by themselves, with the least of arguments."""
SERVICES = {"up": ["--no-visitors"], "ingest": [], "worker": [], "api": []}
LOG_LINE = (
    '192.0.2.1 - - [27/Nov/2025:08:00:00 +0000] "GET / HTTP/1.1" 200 100 "-" '
    '"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"\n'
)
OTHERS = {"restore", "local", "copy"}
"""Commands that do not read the files: `restore` replaces them."""


@pytest.fixture
def folder(on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that all commands use."""
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", on_sqlite.data_dir)
    monkeypatch.chdir(Path(on_sqlite.data_dir).parent)
    Path("access.log").write_text(LOG_LINE)
    for name in ("INGEST", "API", "DEMO"):
        monkeypatch.setenv(f"LIVEINSIGHT_{name}_PORT", str(free_port()))
    return Path(on_sqlite.data_dir)


def run(name: str) -> tuple[int, str]:
    """A command in a process of its own: its exit code, and what it says on stderr."""
    command = [sys.executable, "-m", "liveinsight", name, *{**CALLS, **SERVICES}[name]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        _, told = process.communicate(timeout=30)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return process.returncode, told


def change(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def content(file: Path) -> list[str]:
    """All of a file, as SQL."""
    with closing(sqlite3.connect(file)) as connection:
        marks = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
        return [*map(str, marks), *connection.iterdump()]


def test_every_command_is_here() -> None:
    """A new one must say how it treats the files."""
    assert {*CALLS, *SERVICES} <= set(COMMANDS) <= {*CALLS, *SERVICES, *OTHERS}


def newer(file: Path) -> str:
    change(file, "PRAGMA user_version = 99")
    return "from a newer release"


def foreign(file: Path) -> str:
    change(file, "PRAGMA application_id = 7")
    return "was not made by LiveInsight"


@pytest.mark.parametrize("name", [*CALLS, *(pytest.param(name, marks=pytest.mark.end_to_end) for name in SERVICES)])
@pytest.mark.parametrize("make", [newer, foreign])
@pytest.mark.parametrize("file", ["stream.db", "store.db"])
def test_other_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, make: Callable[[Path], str], file: str
) -> None:
    """By each command that reads the file: it ends, names it, and says what to do."""
    if file == "stream.db" and name in {"site", "dlq", "rebuild"}:
        pytest.skip("reads the store only")
    problem = make(folder / file)
    before = content(folder / file)
    if name in SERVICES:
        code, told = run(name)
    else:
        code, told = main([name, *CALLS[name]]), capsys.readouterr().err
    assert code in {1, 2}
    assert problem in told
    assert file in told
    assert "Traceback" not in told
    assert content(folder / file) == before


def test_an_older_file_is_brought_up_to_date(tmp_path: Path) -> None:
    """Version by version; its rows are kept. A program that starts before says what to run."""
    path = tmp_path / "store.db"
    first = Database(path, STORE, StoreUnavailable)
    assert first.create()
    with first.writing() as connection:
        connection.execute("INSERT INTO documents VALUES (1, 'sites', 3, 'text')")
    second = STORE._replace(migrations=(*STORE.migrations, "ALTER TABLE documents ADD COLUMN note TEXT DEFAULT 'new'"))
    third = STORE._replace(migrations=(*second.migrations, "UPDATE documents SET note = note || ' and changed'"))
    newest = Database(path, third, StoreUnavailable)
    with pytest.raises(LiveInsightError, match="version 1, this release needs 3: run `liveinsight init`"):
        newest.check_version()
    assert newest.create()
    assert not newest.create()
    newest.check_version()
    with newest.reading() as connection:
        assert connection.execute("SELECT * FROM documents").fetchall() == [(1, "sites", 3, "text", "new and changed")]
    with pytest.raises(LiveInsightError, match=r"version 3, from a newer release; this one knows up to 2"):
        Database(path, second, StoreUnavailable).check_version()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The file stays as the older release left it, and can be used by it."""
    path = tmp_path / "store.db"
    first = Database(path, STORE, StoreUnavailable)
    first.create()
    broken = "CREATE TABLE more (n); INSERT INTO no_such_table VALUES (1)"
    with pytest.raises(StoreUnavailable, match="no_such_table"):
        Database(path, STORE._replace(migrations=(*STORE.migrations, broken)), StoreUnavailable).create()
    with first.reading() as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'more'").fetchone()
