"""A backend as a protocol: the stream, the stores, and their upkeep.

`liveinsight.aws` and `liveinsight.sqlite` each have one. Composition roots choose by the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from liveinsight.storage.items import ItemStore
from liveinsight.storage.store import Store
from liveinsight.storage.stream import Stream


class Lease(NamedTuple):
    """A lease of a shard by a worker of the Kinesis Client Library.

    No time is stored: a live owner raises `counter` every few seconds.
    """

    owner: str
    counter: int
    checkpoint: str
    """A sequence number, `SHARD_END`, or a word such as ``TRIM_HORIZON`` when nothing was checkpointed yet."""


class DiskUse(NamedTuple):
    """What a backend on this machine takes of its disk."""

    folder: str
    free: int
    """Bytes that are free on the disk."""
    bytes_: dict[str, int]
    """Bytes by kind: `stream`, `store`, parts of the store, `logs`, `free pages` within the files."""
    oldest_at: int | None
    """When the oldest record of the stream arrived, epoch ms."""


class Backend(Protocol):
    """Where events are kept and counted. Making one makes no request."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    def stream(self) -> Stream:
        """The stream, for programs that wait for it."""

    def stream_for_requests(self) -> Stream:
        """The stream, for servers whose clients wait: a call fails soon and is not retried."""

    def store(self, generation: int) -> Store:
        """The store of a generation of counters, whether or not it was created."""

    def items(self, generation: int) -> ItemStore:
        """The items of a generation as they are stored, for a copy."""

    def check_version(self) -> None:
        """For programs that wait for a backend that does not answer: one of another release never will.

        Raises:
            LiveInsightError: what is stored is of another release; the message says what to do.
        """

    def create(self) -> Iterator[str]:
        """Create the stream and the first generation, and bring older ones up to date; yields a line for each step.

        Safe to repeat: what exists is kept.

        Raises:
            LiveInsightError: it does not answer, or refuses.
        """

    def create_generation(self, generation: int) -> Iterator[str]:
        """Create a generation's tables; yields a line for each step. Safe to repeat."""

    def delete_generation(self, generation: int) -> Iterator[str]:
        """Delete a generation's tables for good; yields a line for each step. Safe to repeat."""

    def later_generations(self) -> list[int]:
        """The generations above the first that were created, in order."""

    def upkeep(self, now: int) -> Mapping[str, int]:
        """What the backend needs while it is used: the worker calls it every second, with the time in epoch ms.

        Returns what was deleted, by its kind.

        Raises:
            LiveInsightError: something failed; the next call tries again.
        """

    def disk_use(self, *, measure: bool) -> DiskUse | None:
        """What it takes of this machine's disk; None when it is elsewhere. `measure` reads all that is stored.

        Raises:
            LiveInsightError: it does not answer, or refuses.
        """

    def leases(self, generation: int, table: str = "") -> dict[str, Lease]:
        """Leases of the Kinesis Client Library by shard id; empty without the library.

        Args:
            generation: of the counters that its workers write.
            table: the lease table, if it is not the usual one.
        """
