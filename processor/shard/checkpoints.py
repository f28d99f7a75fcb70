"""Checkpoints of a shard: the interface that a record processor calls, and the one kept in our own store."""

from __future__ import annotations

from typing import Protocol

from liveinsight.storage.store import Checkpoint, CheckpointStore


class Checkpointer(Protocol):
    """Moves the shard's checkpoint: a sequence number, or `SHARD_END`."""

    def checkpoint(self, sequence_number: str) -> None:
        """Everything up to here is stored."""


class StoreCheckpointer:
    """Keeps one shard's checkpoint in the store, and remembers what it last wrote ("" before that)."""

    def __init__(self, store: CheckpointStore, shard_id: str, incarnation: int) -> None:
        self._store = store
        self._shard_id = shard_id
        self._incarnation = incarnation
        self.reached = ""

    def checkpoint(self, sequence_number: str) -> None:
        """Everything up to here is stored."""
        self._store.write_checkpoint(self._shard_id, Checkpoint(self._incarnation, sequence_number))
        self.reached = sequence_number
