"""The store as protocols: the processor writes it, the API reads it.

`DynamoStore`, `SqliteStore` and, for tests, `MemoryStore` implement them and pass one contract suite. All guarantee:

* **Writes are compare-and-set on the mark.** A counter is written only if its stored mark is the one it was loaded
  with; a visitor only if its stored mark is below the new one. Refused writes are returned, not raised.
* **An unconfirmed write may have happened** (`Written.unconfirmed`): load again before retrying.
* **`load_` methods are strongly consistent.** `read_` methods may lag by a moment.
* Every method may raise `StoreUnavailable`. All are safe to call again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from liveinsight.counting.counters import CounterItem, encode_counter
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.previews import CounterPreview, VisitorPreview, newest
from liveinsight.counting.sessions import VisitorState, encode_visitor
from liveinsight.counting.timeline import Marked, unpack_waiting

Row = TypeVar("Row")

VisitorKey = tuple[str, int]
"""(site, visitor)."""

SHARD_END = "SHARD_END"
"""Checkpoint of a shard that was read to its end."""


class CounterWrite(NamedTuple):
    """Write an encoded item with its `mark` if the stored mark is `expected` (`NO_MARK`: if there is no item).

    `key` is that of an item (see `layout.storage_item`), which also holds its embedded counters.
    """

    key: CounterKey
    expected: str
    mark: str
    data: bytes
    expires_at: int
    """Epoch seconds; 0 keeps the item for good."""

    @classmethod
    def of(cls, key: CounterKey, expected: str, item: CounterItem, expires_at: int = 0) -> CounterWrite:
        """The write of an item as it is now."""
        return cls(key, expected, item.mark, encode_counter(item), expires_at)


@dataclass
class Written:
    """Outcome of conditional writes, by index into the request."""

    refused: list[int] = field(default_factory=list)
    """The condition failed: another writer was first."""
    unconfirmed: list[int] = field(default_factory=list)
    """Throttled or failed: it may or may not have been applied."""


class VisitorWrite(NamedTuple):
    """Write an encoded state if the stored mark is below `mark`, or if no state is stored.

    `is_new` says that no state was stored when this one was loaded. It is a hint that saves a write, not a condition.
    """

    key: VisitorKey
    mark: str
    data: bytes
    expires_at: int
    is_new: bool

    @classmethod
    def of(cls, state: VisitorState, expires_at: int, *, is_new: bool) -> VisitorWrite:
        """The write of a state as it is now."""
        return cls((state.site, state.visitor), state.mark, encode_visitor(state), expires_at, is_new)


class TimelineChunk(NamedTuple):
    """Consecutive events of a session and visitor. Replays may cut chunks differently: readers drop repeated marks."""

    site: str
    session_id: str
    events: Sequence[Marked]
    expires_at: int
    visitor: int = 0


class DeadLetter(NamedTuple):
    """A record that could not be decoded."""

    shard_id: str
    mark: str
    reason: str
    message: str
    data: bytes
    arrived_at: int
    expires_at: int


class DeadLetterSummary(NamedTuple):
    """A dead letter without its bytes."""

    shard_id: str
    mark: str
    reason: str
    arrived_at: int
    size: int


class Checkpoint(NamedTuple):
    """How far a shard is processed: a sequence number or `SHARD_END`, of one incarnation of the stream."""

    incarnation: int
    sequence_number: str

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Checkpoints of a shard in their order."""
        ended = self.sequence_number == SHARD_END
        return self.incarnation, ended, 0 if ended else int(self.sequence_number)


class Watermark(NamedTuple):
    """Freshness of one shard: up to which arrival time (epoch ms) its records are counted.

    Records that arrived before `as_of` are stored completely. Those before `fresh_as_of` are in the counters of
    `Cadence.FAST`. Those before `preview_as_of` of the sites in `previewed` (None: of all sites) are stored or
    previewed. If `as_of` is later, it holds for all three.
    """

    shard_id: str
    as_of: int
    closed: bool
    incarnation: int
    fresh_as_of: int = 0
    preview_as_of: int = 0
    previewed: tuple[str, ...] | None = None


class Document(NamedTuple):
    """A small versioned document, replaced by compare-and-set: each version is one more than the one before."""

    version: int = 0
    text: str = ""


class Read(NamedTuple, Generic[Row]):
    """Rows of an answer, and the number of stored items that were read for them."""

    rows: list[Row]
    items_read: int
    partial: bool = False
    """Whether rows are missing that only previews have: the answer is as of the stored state."""


class ProcessorStore(Protocol):
    """The part that the processor uses."""

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        """The shard's stored items among `keys`. The caller may change them."""

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        """Write each item of the shard by compare-and-set."""

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        """The stored states among `keys`. The caller may change them."""

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        """Write each state whose mark is above the stored one."""

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        """Add chunks. Idempotent."""

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        """Keep dead letters. Idempotent."""

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        """Replace the shard's previews that have the same name and a lower mark."""

    def write_watermark(self, watermark: Watermark) -> None:
        """Publish the freshness of a shard.

        Within one incarnation of the stream, times never decrease and a closed shard stays closed: the late write of a
        worker that has lost the shard is ignored.
        """


class CheckpointStore(Protocol):
    """Checkpoints of the embedded worker and of AWS Lambda. The Kinesis Client Library keeps its own."""

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        """Checkpoints by shard id."""

    def write_checkpoint(self, shard_id: str, checkpoint: Checkpoint) -> None:
        """Move a shard's checkpoint forward. A checkpoint further back is ignored."""


class ReadStore(Protocol):
    """The part that the API uses. Each shard has rows of its own; the reader merges them."""

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        """Totals of the 15-minute buckets from first to last, both included: (bucket, item)."""

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        """All values of a dimension on one site-local day: (value, item). Previews are rows of their own."""

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        """Live minutes from first to last, both included: (minute, item). `LIVE` selects the live dimensions."""

    def read_visitors(self, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        """The stored or previewed states among `keys`, unordered."""

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        """At most `limit` events of a session in order, without repeats: (mark, event).

        They come from the chunks of the session, and from the tails of its visitors.
        """

    def read_watermarks(self) -> Read[Watermark]:
        """The watermarks of all shards, closed ones included."""


class DeadLetterStore(Protocol):
    """The part that `liveinsight dlq` uses. Strongly consistent."""

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        """At most `limit` dead letters beyond the mark `after`, by mark, without their bytes."""

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        """One dead letter with its bytes; None if it is missing or incomplete."""

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        """Delete dead letters. Deleting a missing one is a no-op."""


class DocumentStore(Protocol):
    """Small versioned documents: the sites, the pointer to the active generations, claims, replays."""

    def load_document(self, name: str) -> Document:
        """A document; version 0 if there is none."""

    def save_document(self, name: str, document: Document) -> bool:
        """Write a document if the stored version is one less. Returns whether it was written."""


class RebuildStore(Protocol):
    """The part that only `liveinsight rebuild` uses."""

    def counted_days(self) -> set[tuple[str, int]]:
        """The (site, local day) pairs that have counters. Scans the table: for operators' commands only."""


class SaltStore(Protocol):
    """One random salt a day for visitors without an id, shared by all ingest processes."""

    def salt_of_day(self, day: int, candidate: bytes, expires_at: int) -> bytes:
        """The salt of a day. The first `candidate` of the day becomes the salt."""


class Store(
    ProcessorStore, CheckpointStore, ReadStore, DeadLetterStore, SaltStore, DocumentStore, RebuildStore, Protocol
):
    """Everything that one backend stores."""


def tail_of(states: Iterable[VisitorState], session_id: str) -> list[Marked]:
    """The events of a session in the tails of `states`: those that are in no chunk yet."""
    waiting = (entry for state in states for entry in unpack_waiting(state.tail))
    return [(mark, event) for session, mark, event in waiting if session == session_id]


def visitors_read(
    keys: Sequence[VisitorKey],
    stored: Collection[VisitorState],
    previews: Sequence[tuple[list[VisitorState], bool]],
) -> Read[VisitorState]:
    """The answer for `keys` from stored states and previews: each with whether it has all its visitors."""
    wanted = set(keys)
    shown = [state for states, _ in previews for state in states if (state.site, state.visitor) in wanted]
    left_out = wanted.difference((state.site, state.visitor) for state in shown)
    partial = bool(left_out) and not all(whole for _, whole in previews)
    return Read(newest(stored, shown), len(stored) + len(previews), partial)
