"""The stores that shards are counted into: in memory, and in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from liveinsight.bootstrap import initialise
from liveinsight.settings import Settings
from liveinsight.storage.backend import Backend
from liveinsight.storage.store import Store
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.wiring import open_backend


@pytest.fixture
def sqlite_in_memory() -> Iterator[Backend]:
    """SQLite, in files of which none has to reach a disk, where the system has a place for such."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        settings = Settings.from_env({"LIVEINSIGHT_DATA_DIR": folder})
        initialise(settings)
        yield open_backend(settings)


@pytest.fixture(params=["memory", "sqlite"])
def any_store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    backend: Backend = request.getfixturevalue("sqlite_in_memory")
    return backend.store(1)
