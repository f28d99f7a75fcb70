"""What the processor writes and the API reads, as protocols with two implementations.

`liveinsight.testing.memory.MemoryStore` and `liveinsight.aws.dynamodb_store.DynamoStore` are held to one contract suite
(tests/contract). Semantics that both promise:

* **Writes are compare-and-set on the mark.** A counter is written only if its stored mark is the one it was
  loaded with; a visitor only if its stored mark is below the new one. What is refused is returned, not raised.
* **A write may have happened even if it was not confirmed** (`Written.unconfirmed`): load again before retrying.
* **Loads are strongly consistent.** Query methods (for the API) may lag by a moment.
* Every method may raise `StoreUnavailable`; all are safe to call again.
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
    """Outcome of conditional writes, by index into what was asked."""

    refused: list[int] = field(default_factory=list)
    """The condition failed: somebody else has written."""
    unconfirmed: list[int] = field(default_factory=list)
    """Throttled or failed; it may or may not have been applied."""


class VisitorWrite(NamedTuple):
    """Write `data`, an encoded state, if the stored mark is below `mark`, or there is none.

    `is_new` says that nothing was stored when the state was loaded: a hint that saves a write, no condition.
    """

    key: VisitorKey
    mark: str
    data: bytes
    expires_at: int
    is_new: bool

    @classmethod
    def of(cls, state: VisitorState, expires_at: int, *, is_new: bool) -> VisitorWrite:
        """Write a state as it is now."""
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
    """What there is to know about a dead letter without its bytes."""

    shard_id: str
    mark: str
    reason: str
    arrived_at: int
    size: int


class Checkpoint(NamedTuple):
    """How far a shard is done: a sequence number or `SHARD_END`, of one incarnation of the stream."""

    incarnation: int
    sequence_number: str


class Watermark(NamedTuple):
    """Everything that arrived on the shard before `as_of` (epoch ms) is stored; before `fresh_as_of`, in the counters
    that are written first (`Cadence.FAST`); before `preview_as_of`, it is stored or in a preview. The latter two are
    never behind the first, whatever stands here."""

    shard_id: str
    as_of: int
    closed: bool
    incarnation: int
    fresh_as_of: int = 0
    preview_as_of: int = 0


class Document(NamedTuple):
    """A small versioned document, replaced by compare-and-set: each version is one more than the one before."""

    version: int = 0
    text: str = ""


class Read(NamedTuple, Generic[Row]):
    """Rows of an answer, and how many stored items had to be read for them."""

    rows: list[Row]
    items_read: int
    partial: bool = False
    """Less is in it than the previews' time claims: it is as of what is stored."""


class ProcessorStore(Protocol):
    """What the processor needs."""

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        """The shard's stored items among `keys`; strongly consistent. The caller may change them."""

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        """Compare-and-set each item of the shard."""

    def load_visitors(self, keys: Sequence[VisitorKey]) -> dict[VisitorKey, VisitorState]:
        """The stored states among `keys`; strongly consistent. The caller may change them."""

    def write_visitors(self, writes: Sequence[VisitorWrite]) -> Written:
        """Write each state whose mark is above the stored one."""

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        """Add chunks. The same chunk again changes nothing."""

    def write_dead_letters(self, records: Sequence[DeadLetter]) -> None:
        """Keep dead letters. The same record again changes nothing."""

    def write_previews(
        self, shard: str, counters: Sequence[CounterPreview], visitors: Sequence[VisitorPreview]
    ) -> None:
        """Replace the shard's previews of the same names whose marks are lower."""

    def write_watermark(self, watermark: Watermark) -> None:
        """Publish how fresh a shard's counters are.

        Within one incarnation of the stream none of its times falls, and what is closed stays closed: what a zombie
        says late is ignored.
        """


class CheckpointStore(Protocol):
    """What the embedded worker needs; the Kinesis Client Library brings its own."""

    def load_checkpoints(self) -> dict[str, Checkpoint]:
        """Checkpoints by shard id."""

    def write_checkpoint(self, shard_id: str, checkpoint: Checkpoint) -> None:
        """Move a shard's checkpoint forward. One that would move it back is ignored."""


class ReadStore(Protocol):
    """What the API needs. Items of several shards come as several rows: the reader merges them."""

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        """Totals of the 15-minute buckets from first to last, both included, as (bucket, item)."""

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        """All values of a dimension on one site-local day, as (value, item), what is previewed in rows of its own."""

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        """Live minutes from first to last, both included, as (minute, item); `LIVE` gives their second counters."""

    def read_visitors(self, keys: Sequence[VisitorKey]) -> Read[VisitorState]:
        """The states among `keys` as they are stored or previewed, in no order."""

    def read_timeline(self, site: str, session_id: str, limit: int) -> Read[Marked]:
        """A session's events in order, at most `limit`, without repeats, as (mark, event).

        They are in chunks and in the tails of the visitors that the chunks, or the session's id, name.
        """

    def read_watermarks(self) -> Read[Watermark]:
        """The watermarks of all shards, closed ones included."""


class DeadLetterStore(Protocol):
    """What `liveinsight dlq` needs. All reads are strongly consistent."""

    def list_dead_letters(self, limit: int, after: str = "") -> list[DeadLetterSummary]:
        """At most `limit` records beyond the mark `after`, by mark. The records' bytes are not loaded."""

    def load_dead_letter(self, mark: str) -> DeadLetter | None:
        """One record with its bytes; None when there is none, or not all of it."""

    def delete_dead_letters(self, marks: Sequence[str]) -> None:
        """Delete dead letters. Deleting a missing record is a no-op."""


class DocumentStore(Protocol):
    """Small versioned documents: the sites, the pointer to the active generations, claims, replays."""

    def load_document(self, name: str) -> Document:
        """A document, version 0 when there is none; strongly consistent."""

    def save_document(self, name: str, document: Document) -> bool:
        """Write a document if the stored version is one less; whether it was written."""


class RebuildStore(Protocol):
    """What `liveinsight rebuild` needs beside the rest."""

    def counted_days(self) -> set[tuple[str, int]]:
        """Sites and local days that there are counters of. Reads the whole table: for operators' tools only."""


class SaltStore(Protocol):
    """What cookieless identity needs: one random salt a day, shared by all ingest processes."""

    def salt_of_day(self, day: int, candidate: bytes, expires_at: int) -> bytes:
        """The day's salt: `candidate` if there was none, else the one that was first."""


class Store(
    ProcessorStore, CheckpointStore, ReadStore, DeadLetterStore, SaltStore, DocumentStore, RebuildStore, Protocol
):
    """All of it, as one backend gives it."""


def freshest_possible(watermarks: Iterable[Watermark]) -> int | None:
    """Up to when everything is stored: the least of the open shards, None when nothing is known.

    A closed shard brings nothing new, and shards of a stream that was re-created since hold nothing back.
    """
    return min((mark.as_of for mark in _open(watermarks)), default=None)


def freshest_totals(watermarks: Iterable[Watermark]) -> int | None:
    """As `freshest_possible`, for the counters that are written first."""
    return min((max(mark.as_of, mark.fresh_as_of) for mark in _open(watermarks)), default=None)


def freshest_previews(watermarks: Iterable[Watermark]) -> int | None:
    """As `freshest_possible`, for what is stored or previewed."""
    return min((max(mark.as_of, mark.preview_as_of) for mark in _open(watermarks)), default=None)


def _open(watermarks: Iterable[Watermark]) -> list[Watermark]:
    known = list(watermarks)
    newest = max((mark.incarnation for mark in known), default=0)
    return [mark for mark in known if not mark.closed and mark.incarnation == newest]


def tail_of(states: Iterable[VisitorState], session_id: str) -> list[Marked]:
    """The events of a session that are in no chunk yet."""
    waiting = (entry for state in states for entry in unpack_waiting(state.tail))
    return [(mark, event) for session, mark, event in waiting if session == session_id]


def visitors_read(
    keys: Sequence[VisitorKey],
    stored: Collection[VisitorState],
    previews: Sequence[tuple[list[VisitorState], bool]],
) -> Read[VisitorState]:
    """The answer about `keys`, from stored states and previews, each with whether none of its visitors is left out."""
    wanted = set(keys)
    shown = [state for states, _ in previews for state in states if (state.site, state.visitor) in wanted]
    left_out = wanted.difference((state.site, state.visitor) for state in shown)
    partial = bool(left_out) and not all(whole for _, whole in previews)
    return Read(newest(stored, shown), len(stored) + len(previews), partial)
