"""Marks: positions in the stream as strings that sort.

A mark is ``<incarnation>/<shardId>/<3-digit length><digits>/<index>``. Plain string comparison orders
marks along every lineage of shards:

* the incarnation is the stream's creation time, so a re-created stream starts above the old one;
* shard ids are zero padded and a child's is always higher than its parents';
* sequence numbers have up to 129 digits and no fixed width: the length prefix makes them sort;
* the index is the event's place inside its record.
"""

from __future__ import annotations

NO_MARK = ""
"""Below every mark."""


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
