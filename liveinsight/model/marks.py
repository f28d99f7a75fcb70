"""Marks: positions in the stream as strings that sort.

A mark is ``<incarnation>/<shardId>/<3-digit length><digits>/<index>``. Plain string comparison orders
marks along every lineage of shards:

* the incarnation is the stream's creation time, so a re-created stream starts above the old one;
* shard ids are zero padded and a child's is always higher than its parents';
* sequence numbers have up to 129 digits and no fixed width: the length prefix makes them sort;
* the index is the event's place inside its record.

Items that were copied to another stream's store have a ``0`` before it (docs/growing.md).
"""

from __future__ import annotations

NO_MARK = ""
"""Below every mark."""
COPIED = "0"
FIRST_STREAM_MS = 10**12
"""September 2001. From then on, incarnations have 13 digits and so begin above `COPIED`."""


def mark_prefix(incarnation: int, shard_id: str) -> str:
    """The part of a mark that is the same for a whole shard.

    Args:
        incarnation: creation time of the stream, epoch milliseconds.
        shard_id: the stream's own id of the shard.
    """
    return f"{incarnation:013d}/{shard_id}/"


def record_mark(prefix: str, sequence_number: str) -> str:
    """The mark of a record, without the index of an event in it."""
    return f"{prefix}{len(sequence_number):03d}{sequence_number}/"


def event_mark(record: str, index: int) -> str:
    """The mark of one event of a record."""
    return f"{record}{index:05d}"


def copied_mark(mark: str) -> str:
    """The mark of an item that was copied from another stream: below all marks of streams, in the same order as before.

    Copies of copies stay in order, too. Streams must be younger than `FIRST_STREAM_MS`.
    """
    return f"{COPIED}{mark}" if mark else NO_MARK
