"""An item as it is stored in the target: its marks are below all marks of the target's stream.

In: an item of the source. Out: items of the target, mostly one. Bodies of counters have no marks and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from liveinsight.counting.sessions import decode_visitor, encode_visitor
from liveinsight.counting.timeline import Marked, decode_timeline, encode_timeline, repack_waiting, unpack_waiting
from liveinsight.model.marks import copied_mark
from liveinsight.storage.items import StoredChunk, StoredCounter, StoredItem, StoredVisitor
from liveinsight.storage.store import DeadLetter

CHUNK_BYTES = 300_000
"""An item of DynamoDB takes 400 KB; a row of SQLite takes more."""


def moved(item: StoredItem) -> list[StoredItem]:
    """What an item of the source becomes in the target."""
    match item:
        case StoredCounter():
            return [item._replace(mark=copied_mark(item.mark))]
        case StoredVisitor():
            return [item._replace(mark=copied_mark(item.mark), data=_moved_state(item.data))]
        case StoredChunk():
            events = [(copied_mark(mark), event) for mark, event in decode_timeline(item.data)]
            return [
                item._replace(first_mark=part[0][0], last_mark=part[-1][0], data=encode_timeline(part))
                for part in _split(events)
            ]


def moved_letter(letter: DeadLetter) -> DeadLetter:
    """What a dead letter of the source becomes in the target."""
    return letter._replace(mark=copied_mark(letter.mark))


def _moved_state(data: bytes) -> bytes:
    state = decode_visitor(data)
    state.mark, state.spilled = copied_mark(state.mark), copied_mark(state.spilled)
    waiting = unpack_waiting(state.tail)
    state.tail = [repack_waiting((session, copied_mark(mark), event)) for session, mark, event in waiting]
    return encode_visitor(state)


def _split(events: Sequence[Marked]) -> Iterator[Sequence[Marked]]:
    """Halve until each part fits an item of any backend."""
    if len(events) > 1 and len(encode_timeline(events)) > CHUNK_BYTES:
        middle = len(events) // 2
        yield from _split(events[:middle])
        yield from _split(events[middle:])
    else:
        yield events
