"""The embedded backend: two files in the data folder.

stream.db   what ingest has accepted and the worker reads; its writers never wait for those of the store
store.db    counters, visitors, timelines, dead letters, checkpoints, sites
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError, StoreUnavailable, StreamUnavailable
from liveinsight.settings import Settings
from liveinsight.sqlite.database import Database
from liveinsight.sqlite.inspection import disk_use
from liveinsight.sqlite.items import SqliteItems
from liveinsight.sqlite.schema import BY_GENERATION, STORE, STREAM
from liveinsight.sqlite.store import SqliteStore
from liveinsight.sqlite.stream import SqliteStream, create_stream
from liveinsight.sqlite.upkeep import Upkeep
from liveinsight.storage.backend import DiskUse, Lease

STREAM_FILE = "stream.db"
STORE_FILE = "store.db"


class SqliteBackend:
    """A `liveinsight.storage.backend.Backend`.

    Args:
        settings: data folder and number of shards.
        clock: the time of arrival of records.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.folder = Path(settings.data_dir).resolve()
        self.stream_file = Database(self.folder / STREAM_FILE, STREAM, StreamUnavailable)
        self.store_file = Database(self.folder / STORE_FILE, STORE, StoreUnavailable)

    @property
    def place(self) -> str:
        return str(self.folder)

    @cached_property
    def _stream(self) -> SqliteStream:
        return SqliteStream(self.stream_file, self._clock)

    def stream(self) -> SqliteStream:
        return self._stream

    def stream_for_requests(self) -> SqliteStream:
        return self._stream

    def store(self, generation: int) -> SqliteStore:
        return SqliteStore(self.store_file, generation)

    def items(self, generation: int) -> SqliteItems:
        return SqliteItems(self.store_file, generation)

    def check_version(self) -> None:
        for file in (self.stream_file, self.store_file):
            file.check_version()

    def create(self) -> Iterator[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LiveInsightError(f"{self.folder}: {error.strerror}: set LIVEINSIGHT_DATA_DIR") from error
        for file in (self.stream_file, self.store_file):
            changed = file.create()
            yield f"{file.path.name} {'created' if changed else 'is there'}"
        with self.stream_file.writing() as connection:
            made = create_stream(connection, self._settings.shards, self._clock())
        if made:
            yield f"stream created with {self._settings.shards} shards"

    def create_generation(self, generation: int) -> Iterator[str]:
        with self.store_file.writing() as connection:
            made = connection.execute("INSERT OR IGNORE INTO generations VALUES (?)", [generation]).rowcount
        yield f"generation {generation} {'created' if made else 'is there'}"

    def delete_generation(self, generation: int) -> Iterator[str]:
        with self.store_file.writing() as connection:
            deleted = 0
            for table in BY_GENERATION:
                deleted += connection.execute(f"DELETE FROM {table} WHERE generation = ?", [generation]).rowcount
            connection.execute("DELETE FROM generations WHERE generation = ?", [generation])
        yield f"generation {generation} deleted: {deleted:,} rows"

    def later_generations(self) -> list[int]:
        with self.store_file.reading() as connection:
            return [generation for (generation,) in connection.execute("SELECT generation FROM generations ORDER BY 1")]

    @cached_property
    def _upkeep(self) -> Upkeep:
        return Upkeep(self._stream, self.stream_file, self.store_file, self.store, self._settings.stream_days)

    def upkeep(self, now: int) -> Mapping[str, int]:
        return self._upkeep(now)

    def disk_use(self, *, measure: bool) -> DiskUse:
        return disk_use(self.stream_file, self.store_file, measure=measure)

    def leases(self, generation: int, table: str = "") -> dict[str, Lease]:
        return {}
