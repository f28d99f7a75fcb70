"""What the upkeep deletes, and above all what it does not."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from liveinsight.model.errors import StoreUnavailable
from liveinsight.settings import Settings
from liveinsight.sqlite import database, upkeep
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.sqlite.schema import EXPIRING
from liveinsight.sqlite.stream import shard_id_of, shard_of
from liveinsight.storage.generation_pointer import load_versioned_pointer, save_pointer, switched
from liveinsight.storage.store import Checkpoint
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.testing.builders import FakeClock
from processor.embedded.upkeep import upkeep as upkeep_thread

SHARDS = 2
KEYS = {shard: next(f"b{n}" for n in range(99) if shard_of(f"b{n}", SHARDS) == shard) for shard in range(SHARDS)}
"""A partition key of each shard."""


@pytest.fixture
def backend(on_sqlite: Settings, clock: FakeClock) -> SqliteBackend:
    backend = SqliteBackend(on_sqlite, clock)
    # Created anew: the stream's incarnation is a time of this clock.
    shutil.rmtree(backend.folder)
    list(backend.create())
    return backend


def put(backend: SqliteBackend, *shards: int) -> list[str]:
    """One put with a record for each of these shards; their sequence numbers."""
    return [one.sequence_number for one in backend.stream().put([OutRecord(KEYS[shard], b"x") for shard in shards])]


def counted(backend: SqliteBackend, shard: int, sequence_number: str, generation: int = 1) -> None:
    point = Checkpoint(backend.stream().incarnation(), sequence_number)
    backend.store(generation).write_checkpoint(shard_id_of(shard), point)


def kept(backend: SqliteBackend, shard: int) -> list[str]:
    """The sequence numbers of a shard that can be read."""
    stream = backend.stream()
    found = stream.read(stream.iterator(shard_id_of(shard), after=None, start=StartAt.TRIM_HORIZON), 10_000)
    return [record.sequence_number for record in found.records]


def test_records_are_kept_for_the_retention(backend: SqliteBackend, clock: FakeClock) -> None:
    """What is counted and older than three days goes; the rest stays."""
    put(backend, 0)
    clock.advance(hours=1)
    (young,) = put(backend, 0)
    counted(backend, 0, young)
    clock.advance(hours=71, minutes=30)
    # The first row of a stream is empty.
    assert backend.upkeep(clock()) == {"puts": 2}
    assert kept(backend, 0) == [young]


def test_what_is_not_counted_stays(backend: SqliteBackend, clock: FakeClock) -> None:
    """A worker that was down for a week finds every record."""
    first, second, third = put(backend, 0, 0, 0)
    (fourth,) = put(backend, 0)
    clock.advance(hours=7 * 24)
    put(backend, 0)
    backend.upkeep(clock())
    assert kept(backend, 0)[:4] == [first, second, third, fourth]
    # In the middle of what one put brought.
    counted(backend, 0, second)
    clock.advance(minutes=1)
    backend.upkeep(clock())
    assert kept(backend, 0)[:4] == [first, second, third, fourth]
    counted(backend, 0, third)
    clock.advance(minutes=1)
    backend.upkeep(clock())
    assert kept(backend, 0)[0] == fourth


def test_each_shard_counts(backend: SqliteBackend, clock: FakeClock) -> None:
    """A record that one shard has not counted keeps all rows from it on, however far the other shard is."""
    put(backend, 0)
    (waiting,) = put(backend, 1)
    (last,) = put(backend, 0)
    counted(backend, 0, last)
    clock.advance(hours=100)
    put(backend, 0)
    backend.upkeep(clock())
    assert kept(backend, 1) == [waiting]
    assert last in kept(backend, 0)


def test_a_shard_without_records_holds_nothing_back(backend: SqliteBackend, clock: FakeClock) -> None:
    """It has no checkpoint, or one from long ago, and never gets another."""
    (long_ago,) = put(backend, 1)
    counted(backend, 1, long_ago)
    put(backend, 0)
    (last,) = put(backend, 0)
    counted(backend, 0, last)
    clock.advance(hours=100)
    (young,) = put(backend, 0)
    backend.upkeep(clock())
    assert (kept(backend, 0), kept(backend, 1)) == ([young], [])


def test_ids_go_on_when_everything_is_trimmed(backend: SqliteBackend, clock: FakeClock) -> None:
    """The newest row stays, so that no sequence number is given twice."""
    (last,) = put(backend, 0)
    counted(backend, 0, last)
    clock.advance(hours=100)
    backend.upkeep(clock())
    assert kept(backend, 0) == [last]
    assert int(put(backend, 0)[0]) > int(last)


def test_the_newest_generation_decides(backend: SqliteBackend, clock: FakeClock) -> None:
    """After a switch the former generation is not written any more; what it has counted does not matter."""
    (first,) = put(backend, 0)
    put(backend, 0)
    counted(backend, 0, first, generation=2)
    list(backend.create_generation(2))
    pointer, version = load_versioned_pointer(backend.store(1))
    save_pointer(backend.store(1), switched(pointer, 2, 20260101, clock()), version)
    clock.advance(hours=100)
    (young,) = put(backend, 0)
    counted(backend, 0, young)
    backend.upkeep(clock())
    assert len(kept(backend, 0)) == 2


def test_checkpoints_of_another_stream_do_not_count(backend: SqliteBackend, clock: FakeClock) -> None:
    """Those of a stream that was deleted are about other records."""
    (first,) = put(backend, 0)
    backend.store(1).write_checkpoint(shard_id_of(0), Checkpoint(backend.stream().incarnation() - 1, "900000"))
    clock.advance(hours=100)
    put(backend, 0)
    backend.upkeep(clock())
    assert kept(backend, 0)[0] == first


def test_trimming_against_a_model(
    backend: SqliteBackend, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any time: no uncounted and no young record is gone; what is old, counted and before them is."""
    monkeypatch.setattr(upkeep, "TRIM_ROWS", 3)
    rows: list[tuple[int, list[tuple[int, int]]]] = []
    reached = {0: 0, 1: 0}
    for _ in range(60):
        for _ in range(rng.randrange(8)):
            shards = rng.choices(range(SHARDS), weights=(9, 1), k=rng.randrange(1, 4))
            rows.append((clock(), list(zip(shards, map(int, put(backend, *shards)), strict=True))))
            clock.advance(minutes=rng.random() * 60)
        for shard in range(SHARDS):
            waiting = [number for _, row in rows for of, number in row if of == shard and number > reached[shard]]
            if waiting and rng.random() < 0.5:
                reached[shard] = rng.choice(waiting)
                counted(backend, shard, str(reached[shard]))
        clock.advance(hours=rng.random() * 30)
        backend.upkeep(clock())
        held = [
            arrived >= clock() - 3 * upkeep.DAY_MS or any(number > reached[shard] for shard, number in row)
            for arrived, row in rows[:-1]
        ]
        expected = rows[held.index(True) :] if True in held else rows[-1:]
        for shard in range(SHARDS):
            numbers = [str(number) for _, row in expected for of, number in row if of == shard]
            assert kept(backend, shard) == numbers


def fill(backend: SqliteBackend, table: str, expiries: list[int]) -> None:
    """A row for each of these times of expiry."""
    with backend.store_file.writing() as connection:
        columns = connection.execute("SELECT name, type FROM pragma_table_info(?)", [table]).fetchall()
        for number, expires_at in enumerate(expiries):
            values = {"INTEGER": number, "TEXT": f"{number:05d}", "BLOB": b"x"}
            row = [expires_at if name == "expires_at" else values[type_] for name, type_ in columns]
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def expiries(backend: SqliteBackend, table: str) -> list[int]:
    with backend.store_file.reading() as connection:
        return [at for (at,) in connection.execute(f"SELECT expires_at FROM {table} ORDER BY expires_at")]


@pytest.mark.parametrize("table", EXPIRING)
def test_expired_rows_are_deleted(
    backend: SqliteBackend, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """All of them, once the walk has been through the table; none that is for good or for later."""
    monkeypatch.setattr(upkeep, "SWEEP_ROWS", 7)
    monkeypatch.setattr(upkeep, "SWEEP_TURNS", 2)
    now = clock() // 1000
    given = [rng.choice([0, now - rng.randrange(100), now + 10_000 + rng.randrange(100)]) for _ in range(100)]
    fill(backend, table, given)
    for _ in range(100 // 14 + 1):
        backend.upkeep(clock())
        clock.now += upkeep.EVERY_MS
    assert expiries(backend, table) == sorted(at for at in given if at == 0 or at > now)


def test_the_walk_begins_again(backend: SqliteBackend, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What expires behind it is found in the next round."""
    monkeypatch.setattr(upkeep, "SWEEP_ROWS", 5)
    monkeypatch.setattr(upkeep, "SWEEP_TURNS", 1)
    now = clock() // 1000
    fill(backend, "visitors", [now + 90] * 12)
    found = []
    for _ in range(8):
        found.append(backend.upkeep(clock()).get("visitors", 0))
        clock.advance(minutes=1)
    # Three looks for a round; after 90 seconds the walk is at the last two.
    assert found == [0, 0, 2, 5, 5, 0, 0, 0]


def test_files_are_looked_through_once_a_minute(backend: SqliteBackend, clock: FakeClock) -> None:
    """It is called every second."""
    now = clock() // 1000
    backend.upkeep(clock())
    fill(backend, "salts", [now])
    clock.advance(seconds=59)
    assert backend.upkeep(clock()) == {}
    clock.advance(seconds=1)
    assert backend.upkeep(clock()) == {"salts": 1}


def test_the_log_moves_into_the_file(backend: SqliteBackend, clock: FakeClock, tmp_path: Path) -> None:
    """Each second, so that no commit has to do it."""
    for _ in range(20):
        put(backend, 0)
    copy = tmp_path / "without-log.db"

    def puts_in_file() -> int:
        # Only the file itself: what the log has is left out.
        shutil.copy(backend.stream_file.path, copy)
        with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
            count: int = connection.execute("SELECT count(*) FROM puts").fetchone()[0]
        return count

    backend.upkeep(clock())
    assert puts_in_file() == 21


def test_only_a_long_log_makes_writers_wait(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages move while others write. As commits come meanwhile, a long log ends only when nobody may write."""
    put(backend, 0)
    shortened = threading.Event()

    def shorten() -> None:
        backend.stream_file.shorten_log()
        shortened.set()

    with backend.stream_file.turn():
        threading.Thread(target=shorten).start()
        assert shortened.wait(5)
        shortened.clear()
        monkeypatch.setattr(database, "LONG_LOG_PAGES", 1)
        threading.Thread(target=shorten).start()
        assert not shortened.wait(0.2)
    assert shortened.wait(5)


def test_a_failure_does_not_end_the_upkeep(clock: FakeClock) -> None:
    """A full disk is somebody else's to repair; afterwards it goes on."""
    times: list[int] = []
    enough = threading.Event()

    def call(now: int) -> Mapping[str, int]:
        times.append(now)
        if len(times) == 1:
            raise StoreUnavailable("the disk is full")
        enough.set()
        return {"puts": 1}

    with upkeep_thread(call, clock, seconds=0.01):
        assert enough.wait(5)
    count = len(times)
    time.sleep(0.05)
    assert (len(times), set(times)) == (count, {clock()})
