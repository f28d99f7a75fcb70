"""What every store promises, held against the in-memory one, SQLite, MiniStack and Amazon's own DynamoDB Local."""

from __future__ import annotations

import random

import pytest

from liveinsight.bootstrap import initialise
from liveinsight.counting.contributions import Contribution
from liveinsight.counting.counters import CounterItem, encode_counter
from liveinsight.counting.fold import fold
from liveinsight.counting.keys import dimension_key, minute_key, totals_key
from liveinsight.counting.previews import CounterPreview, PreviewRow, VisitorPreview, encode_rows, pack_row
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import timeline_event
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.settings import Settings
from liveinsight.storage.store import (
    SHARD_END,
    Checkpoint,
    CounterWrite,
    DeadLetter,
    DeadLetterSummary,
    Store,
    TimelineChunk,
    VisitorWrite,
    Watermark,
)
from liveinsight.testing.builders import NOON, an_event
from liveinsight.testing.counters import apply_pending
from liveinsight.testing.expected import dead_letters_in
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.wiring import open_store

SHARD = "shardId-000000000000"
OTHER_SHARD = "shardId-000000000001"
FAR = 4_000_000_000
PREFIX = mark_prefix(1_790_000_000_000, SHARD)


def mark(number: int) -> str:
    return event_mark(record_mark(PREFIX, str(number)), 0)


def an_item(number: int, *, views: int = 1, visitor: int = 7) -> CounterItem:
    item = CounterItem()
    apply_pending(
        item, [Contribution(totals_key("default", 0), mark(number), {"pageviews": views, "events": views}, 12, visitor)]
    )
    return item


@pytest.fixture(params=["memory", "sqlite", "ministack", pytest.param("dynamodb-local", marks=pytest.mark.emulator)])
def any_store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "sqlite":
        return open_store(request.getfixturevalue("on_sqlite"))
    environ = request.getfixturevalue("aws_environ")
    if request.param == "dynamodb-local":
        environ = {**environ, "AWS_ENDPOINT_URL_DYNAMODB": request.getfixturevalue("dynamodb_local").url}
    settings = Settings.from_env(environ)
    initialise(settings)
    store: Store = request.getfixturevalue("open_aws")(settings)[1]
    return store


def plain(item: CounterItem) -> tuple[dict[str, int], dict[int, int], int, str]:
    return item.measures, item.hours, item.visitors, item.mark


def test_counter_is_written_once_per_mark(any_store: Store) -> None:
    """A counter written with a mark that is no longer the stored one is refused and left as it was."""
    key = dimension_key("default", 20260922, "page", "/a#b c")
    assert any_store.load_counters(SHARD, [key]) == {}
    assert any_store.write_counters(SHARD, [CounterWrite.of(key, "", an_item(1), 0)]).refused == []
    assert any_store.write_counters(SHARD, [CounterWrite.of(key, "", an_item(2), 0)]).refused == [0]
    assert any_store.write_counters(SHARD, [CounterWrite.of(key, mark(5), an_item(6), 0)]).refused == [0]
    loaded = any_store.load_counters(SHARD, [key])[key]
    assert plain(loaded) == ({"pageviews": 1, "events": 1}, {12: 1}, 1, mark(1))
    apply_pending(loaded, [Contribution(totals_key("default", 0), mark(3), {"pageviews": 2, "bounces": -1}, 13, 8)])
    assert any_store.write_counters(SHARD, [CounterWrite.of(key, mark(1), loaded, 0)]).refused == []
    assert plain(any_store.load_counters(SHARD, [key])[key]) == (
        {"pageviews": 3, "events": 1, "bounces": -1},
        {12: 1, 13: 2},
        2,
        mark(3),
    )


def test_refusals_are_told_apart_within_a_large_write(any_store: Store) -> None:
    """Among many writes exactly those whose mark does not fit are refused; the others are stored."""
    keys = [totals_key("default", 1_988_888 + number) for number in range(60)]
    taken = {3, 24, 25, 49, 59}
    any_store.write_counters(SHARD, [CounterWrite.of(keys[i], "", an_item(1), 0) for i in taken])
    written = any_store.write_counters(SHARD, [CounterWrite.of(key, "", an_item(2), 0) for key in keys])
    assert set(written.refused) == taken
    assert written.unconfirmed == []
    assert len(any_store.load_counters(SHARD, keys)) == 60


def test_shards_have_items_of_their_own(any_store: Store) -> None:
    """The same counter of two shards is two items, and a reader gets both."""
    key = totals_key("default", 1_988_888)
    any_store.write_counters(SHARD, [CounterWrite.of(key, "", an_item(1), 0)])
    any_store.write_counters(OTHER_SHARD, [CounterWrite.of(key, "", an_item(9, views=4), 0)])
    read = any_store.read_totals("default", 1_988_888, 1_988_888)
    assert sorted(item.measures["pageviews"] for _, item in read.rows) == [1, 4]
    assert read.items_read == 2


def test_totals_are_read_by_range(any_store: Store) -> None:
    """Totals are found from the first to the last bucket asked for, over the border of a UTC day, of one site.

    An hour's four buckets are one item.
    """
    midnight = 1_988_832
    assert midnight % 96 == 0
    for hour in (midnight - 4, midnight):
        item = an_item(1)
        item.embedded = {str(quarter): an_item(1) for quarter in (1, 2, 3)}
        any_store.write_counters(SHARD, [CounterWrite.of(totals_key("default", hour), "", item, 0)])
    any_store.write_counters(SHARD, [CounterWrite.of(totals_key("other", midnight), "", an_item(1), 0)])
    read = any_store.read_totals("default", midnight - 2, midnight + 1)
    assert sorted(bucket for bucket, _ in read.rows) == [midnight - 2, midnight - 1, midnight, midnight + 1]
    assert read.items_read == 2


def test_dimension_values_are_read_back_as_they_were(any_store: Store) -> None:
    """Every value of a day comes back unchanged, whatever characters it is made of."""
    values = ["/", "#", "a#b#c", "~", "日本", "'; DROP", '"quoted"', "x" * 500, " ", "(other)", "0#", "e\u0301"]
    writes = [CounterWrite.of(dimension_key("default", 20260922, "page", v), "", an_item(1), 0) for v in values]
    assert any_store.write_counters(SHARD, writes).refused == []
    decoy = CounterWrite.of(dimension_key("default", 20260923, "page", "/tomorrow"), "", an_item(1), 0)
    any_store.write_counters(SHARD, [decoy])
    read = any_store.read_dimension("default", 20260922, "page")
    assert sorted(value for value, _ in read.rows) == sorted(values)


def test_minutes_are_read_by_range(any_store: Store) -> None:
    """Live minutes are found by range."""
    for minute in range(100, 106):
        any_store.write_counters(SHARD, [CounterWrite.of(minute_key("default", minute), "", an_item(1), FAR)])
    read = any_store.read_minutes("default", 102, 104)
    assert sorted(minute for minute, _ in read.rows) == [102, 103, 104]


def a_state(number: int, *, at: int = NOON, visitor: int = 1, recent: bool = True) -> VisitorState:
    state = VisitorState("default", visitor, sessions=[], recent_ids=[])
    fold(state, an_event(at=at, visitor=visitor, recent=recent), mark(number))
    return state


@pytest.mark.parametrize("hint", [True, False])
def test_visitor_only_moves_forward(any_store: Store, hint: bool) -> None:
    """A visitor is written over only by a later mark, whether or not the hint about novelty was right."""
    assert any_store.write_visitors([VisitorWrite.of(a_state(5), FAR, is_new=hint)]).refused == []
    assert any_store.write_visitors([VisitorWrite.of(a_state(5), FAR, is_new=hint)]).refused == [0]
    assert any_store.write_visitors([VisitorWrite.of(a_state(4), FAR, is_new=hint)]).refused == [0]
    later = a_state(6, at=NOON + 60_000)
    assert any_store.write_visitors([VisitorWrite.of(later, FAR, is_new=hint)]).refused == []
    assert any_store.load_visitors([("default", 1), ("default", 2)]) == {("default", 1): later}


def test_marks_order_over_shards_and_lengths() -> None:
    """A longer sequence number is greater than a shorter one, and a child shard's mark than its parent's."""
    assert mark(9) < mark(10) < mark(99) < mark(100)
    child = event_mark(record_mark(mark_prefix(1_790_000_000_000, OTHER_SHARD), "1"), 0)
    assert mark(10**100) < child
    assert child < event_mark(record_mark(mark_prefix(1_790_000_000_001, SHARD), "1"), 0)


def test_visitors_are_read_by_key(any_store: Store) -> None:
    """Those asked for that there are, and no others."""
    states = [a_state(number, visitor=number) for number in range(1, 4)]
    any_store.write_visitors([VisitorWrite.of(state, FAR, is_new=True) for state in states])
    read = any_store.read_visitors([("default", 3), ("default", 1), ("default", 9), ("other", 2)])
    assert sorted(state.visitor for state in read.rows) == [1, 3]
    assert read.items_read == 2


def test_counters_of_one_item_are_read_by_their_dimensions(any_store: Store) -> None:
    """A page's item holds its counters as entry and exit page beside its own; each is read under its own name."""
    item = an_item(1, views=5)
    item.embedded["exit_page"] = an_item(1, views=2, visitor=9)
    keys = [dimension_key("default", 20260922, "page", value) for value in ("/a", "/b")]
    any_store.write_counters(
        SHARD, [CounterWrite.of(keys[0], "", item, 0), CounterWrite.of(keys[1], "", an_item(1), 0)]
    )
    loaded = any_store.load_counters(SHARD, keys[:1])[keys[0]]
    assert (loaded.measures["pageviews"], loaded.embedded["exit_page"].measures["pageviews"]) == (5, 2)
    found = {
        name: [(value, row.measures["pageviews"]) for value, row in read.rows]
        for name in ("page", "entry_page", "exit_page")
        if (read := any_store.read_dimension("default", 20260922, name)).items_read == 2
    }
    assert {name: sorted(rows) for name, rows in found.items()} == {
        "page": [("/a", 5), ("/b", 1)],
        "entry_page": [],
        "exit_page": [("/a", 2)],
    }


def a_preview(number: int, *rows: PreviewRow) -> CounterPreview:
    packed = encode_rows([pack_row(row) for row in rows])
    return CounterPreview("default", 20260922, "page", mark(number), packed, FAR)


def a_row(value: str, base: str, last: int, views: int) -> PreviewRow:
    return PreviewRow(value, base, mark(last), encode_counter(an_item(last, views=views)))


def test_preview_comes_on_top_of_what_is_stored(any_store: Store) -> None:
    """A row is added to the item it says; when that holds the row it is left out; in between the answer is partial."""
    keys = [dimension_key("default", 20260922, "page", value) for value in ("/a", "/b", "/c")]
    for key, number in zip(keys, (1, 6, 3), strict=True):
        any_store.write_counters(SHARD, [CounterWrite.of(key, "", an_item(number, views=10), 0)])
    any_store.write_counters(OTHER_SHARD, [CounterWrite.of(keys[0], "", an_item(9, views=100), 0)])
    rows = [a_row("/a", mark(1), 5, 2), a_row("/b", mark(1), 5, 3), a_row("/new", "", 5, 4)]
    any_store.write_previews(SHARD, [a_preview(5, *rows)], [])
    any_store.write_previews(SHARD, [a_preview(4, a_row("/a", mark(1), 4, 1))], [])
    read = any_store.read_dimension("default", 20260922, "page")
    shown = sorted((value, item.measures["pageviews"]) for value, item in read.rows)
    assert shown == [("/a", 2), ("/a", 10), ("/a", 100), ("/b", 10), ("/c", 10), ("/new", 4)]
    assert (read.items_read, read.partial) == (5, False)
    any_store.write_previews(SHARD, [a_preview(7, *rows, a_row("/c", mark(1), 7, 1))], [])
    read = any_store.read_dimension("default", 20260922, "page")
    assert sorted((value, item.measures["pageviews"]) for value, item in read.rows) == shown
    assert read.partial


def test_visitor_is_read_as_whoever_knows_more_has_it(any_store: Store) -> None:
    """A previewed state stands for a stored one with a lower mark; one that is left out may make the answer partial."""
    states = {visitor: VisitorState("default", visitor, mark(visitor)) for visitor in (1, 2, 3)}
    any_store.write_visitors(
        [VisitorWrite.of(states[2], FAR, is_new=True), VisitorWrite.of(states[3], FAR, is_new=True)]
    )
    newer, older = VisitorState("default", 2, mark(8)), VisitorState("default", 3, mark(1))
    preview = VisitorPreview("default", mark(8), [states[1], newer, older], True, FAR)
    any_store.write_previews(SHARD, [], [preview])
    read = any_store.read_visitors([("default", visitor) for visitor in (1, 2, 3, 4)])
    assert sorted(read.rows, key=lambda state: state.visitor) == [states[1], newer, states[3]]
    assert (read.items_read, read.partial) == (3, False)
    any_store.write_previews(SHARD, [], [preview._replace(mark=mark(9), whole=False)])
    assert any_store.read_visitors([("default", 4)]).partial
    assert not any_store.read_visitors([("default", 1)]).partial
    assert any_store.load_visitors([("default", 1)]) == {}


def test_timeline_gives_each_event_once(any_store: Store) -> None:
    """Chunks cut differently by a replay give every event once, in order of time."""
    events = [
        (mark(number), timeline_event(an_event(at=NOON + number * 1000, title=f"{number}"))) for number in range(5)
    ]
    any_store.write_timeline([TimelineChunk("default", "s1", events[:3], FAR)])
    any_store.write_timeline([TimelineChunk("default", "s1", events[:2], FAR)])
    any_store.write_timeline([TimelineChunk("default", "s1", events[2:], FAR)])
    any_store.write_timeline([TimelineChunk("default", "s2", events[:1], FAR)])
    assert any_store.read_timeline("default", "s1", 100).rows == events
    assert any_store.read_timeline("default", "nobody", 100).rows == []


def test_timeline_chunk_larger_than_an_item(any_store: Store) -> None:
    """A chunk that would not fit one item is kept whole all the same."""
    rng = random.Random(1)  # what cannot be compressed below half
    props = [{f"key{at}": rng.randbytes(1000).hex() for at in range(30)} for _ in range(12)]
    events = [
        (mark(number), timeline_event(an_event(at=NOON + number, props=each))) for number, each in enumerate(props)
    ]
    any_store.write_timeline([TimelineChunk("default", "big", events, FAR)])
    assert any_store.read_timeline("default", "big", 100).rows == events


def test_dead_letter_is_kept_whole(any_store: Store) -> None:
    """A dead letter is kept byte by byte with its reason, even one of a megabyte."""
    record = DeadLetter(SHARD, mark(1), "not_ours", "no magic", bytes(range(256)) * 4000, NOON, FAR)
    small = DeadLetter(SHARD, mark(2), "damaged", "cut", b"", NOON, FAR)
    any_store.write_dead_letters([record, small])
    any_store.write_dead_letters([record])
    assert dead_letters_in(any_store) == [record, small]


def dead_letters(any_store: Store, *sizes: int) -> list[DeadLetter]:
    """Dead letters of these sizes, written in no order; returned in order."""
    records = [DeadLetter(SHARD, mark(i), "damaged", "cut", bytes([i]) * n, NOON + i, FAR) for i, n in enumerate(sizes)]
    any_store.write_dead_letters(records[::-1])
    return records


def test_dead_letters_are_listed_page_by_page(any_store: Store) -> None:
    """A list tells all but the bytes, in order, from a mark on; a record of many parts is one row."""
    records = dead_letters(any_store, 5, 1_000_000, 0, 300_000, 300_001, 7)
    rows = [DeadLetterSummary(r.shard_id, r.mark, r.reason, r.arrived_at, len(r.data)) for r in records]
    assert any_store.list_dead_letters(100) == rows
    assert any_store.list_dead_letters(2) == rows[:2]
    assert any_store.list_dead_letters(2, rows[1].mark) == rows[2:4]
    assert any_store.list_dead_letters(9, rows[3].mark) == rows[4:]
    assert any_store.list_dead_letters(9, rows[-1].mark) == []


def test_dead_letter_is_loaded_by_its_mark(any_store: Store) -> None:
    """One record is found by its mark, whole, however large."""
    records = dead_letters(any_store, 3, 700_000)
    assert [any_store.load_dead_letter(record.mark) for record in records] == records
    assert any_store.load_dead_letter(mark(9)) is None


def test_deleted_dead_letter_is_gone_and_no_other(any_store: Store) -> None:
    """Deleting takes all parts of the records named, leaves the others, and may be repeated."""
    first, second, third = dead_letters(any_store, 700_000, 4, 5)
    for _ in range(2):
        any_store.delete_dead_letters([first.mark, third.mark, mark(99)])
        assert dead_letters_in(any_store) == [second]
    any_store.write_dead_letters([first])
    assert any_store.load_dead_letter(first.mark) == first


def test_checkpoint_never_goes_back(any_store: Store) -> None:
    """Checkpoints compare as numbers; the end of a shard is last; a new incarnation starts above."""
    for sequence in ("9", "10", "9"):
        any_store.write_checkpoint(SHARD, Checkpoint(1, sequence))
    assert any_store.load_checkpoints() == {SHARD: Checkpoint(1, "10")}
    any_store.write_checkpoint(SHARD, Checkpoint(1, SHARD_END))
    any_store.write_checkpoint(SHARD, Checkpoint(1, "99"))
    assert any_store.load_checkpoints() == {SHARD: Checkpoint(1, SHARD_END)}
    any_store.write_checkpoint(SHARD, Checkpoint(2, "1"))
    assert any_store.load_checkpoints() == {SHARD: Checkpoint(2, "1")}


def test_watermark_only_moves_forward(any_store: Store) -> None:
    """Within an incarnation `as_of` never falls and closed stays closed; a new incarnation begins anew."""
    for as_of, closed in ((5, False), (3, False), (7, False), (6, True), (9, False)):
        any_store.write_watermark(Watermark(SHARD, as_of, closed, 1))
    assert any_store.read_watermarks().rows == [Watermark(SHARD, 6, True, 1)]
    any_store.write_watermark(Watermark(SHARD, 1, False, 2))
    any_store.write_watermark(Watermark(SHARD, 8, False, 1))
    assert any_store.read_watermarks().rows == [Watermark(SHARD, 1, False, 2)]


def test_both_times_of_a_watermark_only_move_forward(any_store: Store) -> None:
    """Neither falls, also where the other rises: a zombie may be ahead in one and behind in the other."""
    times = ((5, 5), (5, 8), (4, 9), (6, 7), (5, 8), (8, 9))
    seen = []
    for as_of, fresh_as_of in times:
        any_store.write_watermark(Watermark(SHARD, as_of, False, 1, fresh_as_of))
        (row,) = any_store.read_watermarks().rows
        seen.append((row.as_of, row.fresh_as_of))
    assert seen == [(5, 5), (5, 8), (5, 8), (5, 8), (5, 8), (8, 9)]


def test_watermark_is_the_last_one_written(any_store: Store) -> None:
    """A shard has one watermark, the last one, with the sites that its previews are of."""
    any_store.write_watermark(Watermark(SHARD, 5, False, 1))
    any_store.write_watermark(Watermark(SHARD, 5, False, 1, 5, 6, ("a", "b")))
    assert any_store.read_watermarks().rows == [Watermark(SHARD, 5, False, 1, 5, 6, ("a", "b"))]
    any_store.write_watermark(Watermark(SHARD, 6, True, 1))
    assert any_store.read_watermarks().rows == [Watermark(SHARD, 6, True, 1)]


def test_first_salt_of_a_day_stays(any_store: Store) -> None:
    """All ingest processes get the salt that was first."""
    assert any_store.salt_of_day(20260922, b"first", FAR) == b"first"
    assert any_store.salt_of_day(20260922, b"second", FAR) == b"first"
    assert any_store.salt_of_day(20260923, b"third", FAR) == b"third"
