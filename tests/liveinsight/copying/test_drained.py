"""Whether a backend has counted all of its stream: by checkpoints of the store, and by leases."""

from __future__ import annotations

from pathlib import Path

import pytest

from liveinsight.copying.drained import reached, uncounted
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.storage.backend import Lease
from liveinsight.storage.store import SHARD_END, Checkpoint
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import FakeClock, MemoryStream, an_event


@pytest.fixture
def backend(tmp_path: Path, clock: FakeClock) -> SqliteBackend:
    made = SqliteBackend(Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(tmp_path / "data")}), clock)
    list(made.create())
    return made


@pytest.fixture
def one_shard(clock: FakeClock) -> MemoryStream:
    stream = MemoryStream(clock, shards=1)
    stream.put([OutRecord(partition_key(1), encode_record([an_event()])) for _ in range(3)])
    return stream


ROOT = "shardId-000000000000"


def left(backend: SqliteBackend, stream: MemoryStream) -> list[str]:
    return uncounted(stream, reached(backend, stream, 1))


def test_checkpoints_of_the_store_decide(backend: SqliteBackend, one_shard: MemoryStream) -> None:
    """None, one that is behind, one of another stream of the same name, and one at the end."""
    store = backend.store(1)
    assert left(backend, one_shard) == [ROOT]
    store.write_checkpoint(ROOT, Checkpoint(one_shard.incarnation() - 1, "3"))
    assert left(backend, one_shard) == [ROOT]
    store.write_checkpoint(ROOT, Checkpoint(one_shard.incarnation(), "2"))
    assert left(backend, one_shard) == [ROOT]
    store.write_checkpoint(ROOT, Checkpoint(one_shard.incarnation(), "3"))
    assert left(backend, one_shard) == []


def test_leases_count_as_well(backend: SqliteBackend, one_shard: MemoryStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the Kinesis Client Library; the word of a lease that was never checkpointed is no position, and of two
    positions the later one holds."""
    leases: dict[str, Lease] = {}
    monkeypatch.setattr(backend, "leases", lambda generation: leases)
    leases[ROOT] = Lease("w", 1, "TRIM_HORIZON")
    assert left(backend, one_shard) == [ROOT]
    backend.store(1).write_checkpoint(ROOT, Checkpoint(one_shard.incarnation(), "2"))
    leases[ROOT] = Lease("w", 1, "3")
    assert left(backend, one_shard) == []
    backend.store(1).write_checkpoint(ROOT, Checkpoint(one_shard.incarnation(), "10"))
    assert reached(backend, one_shard, 1) == {ROOT: "10"}


def test_a_closed_shard_needs_no_end(backend: SqliteBackend, one_shard: MemoryStream) -> None:
    """A shard that was split is done at its end, or at its last record; its children are looked at on their own."""
    low, high = one_shard.split(ROOT)
    backend.store(1).write_checkpoint(ROOT, Checkpoint(one_shard.incarnation(), "3"))
    assert left(backend, one_shard) == []
    backend.store(1).write_checkpoint(ROOT, Checkpoint(one_shard.incarnation(), SHARD_END))
    assert left(backend, one_shard) == []
    one_shard.put([OutRecord(partition_key(1), encode_record([an_event()]))])
    assert left(backend, one_shard) in ([low], [high])
