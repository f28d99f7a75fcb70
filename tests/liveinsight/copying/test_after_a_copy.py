"""After a copy the store holds more than its stream: `verify` and `rebuild` leave out what came before."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from liveinsight.__main__ import main
from liveinsight.cli.copy import run
from liveinsight.copying.copier import Copier
from liveinsight.copying.state import copied_at
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.sites.repository import create_missing
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.storage.generation_pointer import FIRST
from processor.rebuild.replay import load_replay
from tests.liveinsight.copying.traffic import count, put, traffic

HOUR_MS = 3_600_000


def made(folder: Path) -> SqliteBackend:
    settings = Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(folder)})
    backend = SqliteBackend(settings, system_clock)
    list(backend.create())
    create_missing(backend.store(FIRST), settings.sites)
    return backend


@pytest.fixture
def target(tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> SqliteBackend:
    """Two thirds of some traffic were counted elsewhere and copied here, one third was counted here."""
    source, target = made(tmp_path / "a"), made(tmp_path / "b")
    entries = traffic(rng, system_clock() - 20 * HOUR_MS)
    part = 2 * len(entries) // 3
    put(source.stream(), entries[:part])
    count(source.stream(), source.store(FIRST), system_clock)
    assert run(Copier(source, target, system_clock, sleep=lambda _: None, say=print), wait=False) == 0
    put(target.stream(), entries[part:])
    count(target.stream(), target.store(FIRST), system_clock)
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", target.place)
    return target


def test_verify_does_not_take_what_was_copied_for_wrong(
    target: SqliteBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its stream is younger than a day, so it lacks nothing; but the counts of these days are from two streams. There
    is nothing to compare yet, which is exit code 2, and no difference, which would be 1."""
    assert main(["verify", "--wait", "0"]) == 2
    assert "nothing to compare" in capsys.readouterr().out


def test_a_rebuild_begins_with_the_copy(target: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new generation has no event from before, so no earlier day may be shown from it."""
    monkeypatch.setenv("LIVEINSIGHT_SESSIONS_INTERVAL", "0.3")
    monkeypatch.setenv("LIVEINSIGHT_DEAD_LETTER_LIMIT", "1")
    assert main(["rebuild", "start", "--until-caught-up"]) == 0
    assert load_replay(target.store(2)).since == copied_at(target.store(FIRST)) > target.stream().incarnation()
    assert main(["rebuild", "switch"]) == 1
