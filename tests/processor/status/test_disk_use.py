"""What `liveinsight status` says about the disk of one machine."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from liveinsight.__main__ import main
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.sqlite import inspection
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.storage.backend import DiskUse
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import NOON
from processor.status.health import StreamStatus
from processor.status.view import as_json, screen

Status = Callable[..., str]


@pytest.fixture
def backend(on_sqlite: Settings) -> SqliteBackend:
    return SqliteBackend(on_sqlite, system_clock)


@pytest.fixture
def status(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Status:
    """Runs the command; what it prints. An idle machine is healthy."""
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", str(backend.folder))
    monkeypatch.setenv("COLUMNS", "300")

    def run(*options: str) -> str:
        assert main(["status", *options]) == 0
        return capsys.readouterr().out

    return run


def test_disk_use_is_told(backend: SqliteBackend, status: Status) -> None:
    """The parts add up to what the files take, and the text has the same."""
    backend.stream().put([OutRecord("b001", bytes(100_000))])
    with backend.store_file.writing() as connection:
        connection.execute("INSERT INTO visitors VALUES (1, 'default', 1, '', zeroblob(500000), 0)")
    disk = json.loads(status("--json"))["disk"]
    size = disk["bytes"]
    assert disk["folder"] == str(backend.folder)
    assert not disk["nearly_full"]
    assert 500_000 < size["visitors"] < 600_000
    assert size["counters"] < 50_000
    assert sum(size[kind] for kind in ("counters", "visitors", "timelines", "dead_letters", "other")) == size["store"]
    for file in (backend.stream_file, backend.store_file):
        file.shorten_log()
    on_disk = sum(file.path.stat().st_size for file in (backend.stream_file, backend.store_file))
    assert size["stream"] + size["store"] + size["free_pages"] == on_disk
    assert abs(disk["oldest_record_at"] - system_clock()) < 60_000
    (line,) = (line for line in status().splitlines() if line.startswith("disk: "))
    assert f"visitors {size['visitors'] / 1000:.1f} kB" in line
    assert "stream" in line
    assert "store" not in line


def test_freed_pages_are_told(backend: SqliteBackend, status: Status) -> None:
    """What was deleted leaves room in the files, which does not count as used."""
    with backend.store_file.writing() as connection:
        connection.execute("INSERT INTO visitors VALUES (1, 'default', 1, '', zeroblob(500000), 0)")
    with backend.store_file.writing() as connection:
        connection.execute("DELETE FROM visitors")
    size = json.loads(status("--json"))["disk"]["bytes"]
    assert size["free_pages"] > 400_000
    assert size["visitors"] < 50_000


def test_a_large_store_is_measured_only_on_request(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor asks every minute: what it costs must not grow with what is stored."""
    monkeypatch.setattr(inspection, "MEASURED_BYTES", 0)
    assert "counters" not in json.loads(status("--json"))["disk"]["bytes"]
    assert "store" in status()
    assert "counters" in json.loads(status("--json", "--disk"))["disk"]["bytes"]


@pytest.mark.parametrize(("free", "warned"), [((1 << 30) - 1, True), (1 << 30, False)])
def test_a_nearly_full_disk(free: int, warned: bool) -> None:
    """Less than a GiB is told in red; it is no reason for another exit code."""
    found = StreamStatus(NOON, (), (), 0, 0)
    disk = DiskUse(str(Path("/data")), free, {"stream": 7, "store": 9, "logs": 0, "free pages": 0}, None)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(screen(found, stream="shop", generation=1, limit_ms=1, disk=disk))
    assert ("nearly full" in console.export_text()) is warned
    assert as_json(found, stream="shop", generation=1, disk=disk)["disk"] == {
        "folder": "/data",
        "free_bytes": free,
        "nearly_full": warned,
        "bytes": {"stream": 7, "store": 9, "logs": 0, "free_pages": 0},
        "oldest_record_at": None,
    }
    assert found.healthy
