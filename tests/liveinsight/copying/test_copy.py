"""A copy between two backends: the same answers before and after, and counting goes on as if there had been one."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from liveinsight.__main__ import main
from liveinsight.cli.copy import run
from liveinsight.copying import moved
from liveinsight.copying.comparison import Comparison, compare
from liveinsight.copying.copier import Copier
from liveinsight.copying.tally import KINDS
from liveinsight.counting.sessions import new_visitor
from liveinsight.model.buckets import day_number
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError, StoreUnavailable, StreamUnavailable
from liveinsight.model.events import Event
from liveinsight.settings import Settings
from liveinsight.sites.repository import change_sites, create_missing, load_sites
from liveinsight.sqlite import items as sqlite_items
from liveinsight.sqlite.backend import SqliteBackend
from liveinsight.sqlite.items import SqliteItems
from liveinsight.storage.backend import Backend
from liveinsight.storage.generation_pointer import (
    FIRST,
    load_pointer,
    load_versioned_pointer,
    save_pointer,
    switched,
)
from liveinsight.storage.generation_reader import GenerationalReader
from liveinsight.storage.items import StoredItem
from liveinsight.storage.store import Store, VisitorWrite, Watermark
from liveinsight.storage.stream import RecordBatch
from liveinsight.testing.builders import FakeClock
from tests.liveinsight.copying.traffic import SITE, Entry, answers, count, in_one_run, put, traffic, utc_day

HOUR_MS = 3_600_000


class Folders:
    """Makes backends whose streams were created at a given time."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self._folder = folder
        self._clock = clock

    def __call__(self, name: str, *, age_ms: int = 0, shards: int = 2) -> SqliteBackend:
        environ = {"LIVEINSIGHT_DATA_DIR": str(self._folder / name), "LIVEINSIGHT_SHARDS": str(shards)}
        backend = SqliteBackend(Settings.from_env(environ), self._clock)
        now, self._clock.now = self._clock.now, self._clock.now - age_ms
        list(backend.create())
        self._clock.now = now
        return backend


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Folders:
    return Folders(tmp_path, clock)


def copier_of(source: Backend, target: Backend, clock: FakeClock, said: list[str] | None = None) -> Copier:
    return Copier(source, target, clock, sleep=lambda _: None, say=(said if said is not None else []).append)


def copy(source: Backend, target: Backend, clock: FakeClock, said: list[str] | None = None) -> Comparison:
    copier = copier_of(source, target, clock, said)
    assert not copier.finished_at()
    copier.prepare()
    copier.copy(lambda _: None)
    found = copier.compare(lambda _: None)
    assert copier.finish(found) == found.equal
    return found


def count_on(backend: Backend, entries: Sequence[Entry], clock: FakeClock) -> Store:
    put(backend.stream(), entries)
    count(backend.stream(), backend.store(FIRST), clock)
    return backend.store(FIRST)


def a_day(rng: random.Random, clock: FakeClock, visits: int = 0) -> list[Entry]:
    return traffic(rng, clock() - 20 * HOUR_MS, visits=visits)


@pytest.mark.parametrize("age_hours", [-1, 1000], ids=["younger", "older"])
def test_counting_goes_on(make: Folders, clock: FakeClock, rng: random.Random, age_hours: int) -> None:
    """A day that is cut anywhere, visits open, and copied: the answers are the same before and after, and in the end
    those of one run over everything; also where the target's stream is older, and has other shards."""
    entries = a_day(rng, clock)
    scope, whole = in_one_run(entries, clock)
    cut = rng.randrange(len(entries))
    source, target = make("a", shards=3), make("b", age_ms=age_hours * HOUR_MS, shards=2)
    before = count_on(source, entries[:cut], clock)
    found = copy(source, target, clock)
    assert found.equal
    assert found.source.total() > 0
    after = target.store(FIRST)
    assert answers(after, after, scope) == answers(before, before, scope)
    count_on(target, entries[cut:], clock)
    assert answers(after, after, scope) == answers(whole, whole, scope)


def test_there_and_back_again(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """Three copies in a row, each to an older stream, counted on in between: the marks of copies of copies stay in
    order."""
    entries = a_day(rng, clock)
    scope, whole = in_one_run(entries, clock)
    cuts = sorted(rng.randrange(len(entries)) for _ in range(3))
    parts = [entries[first:last] for first, last in zip([0, *cuts], [*cuts, len(entries)], strict=True)]
    backend = make("0")
    store = count_on(backend, parts[0], clock)
    for number, part in enumerate(parts[1:], 1):
        following = make(str(number), age_ms=number * HOUR_MS)
        assert copy(backend, following, clock).equal
        backend, store = following, count_on(following, part, clock)
    assert answers(store, store, scope) == answers(whole, whole, scope)


def test_marks_as_they_are_would_lose_events(
    make: Folders, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without moving the marks, an older stream's events pass for counted: the test above can fail."""
    monkeypatch.setattr(moved, "copied_mark", lambda mark: mark)
    entries = a_day(rng, clock)
    scope, whole = in_one_run(entries, clock)
    source, target = make("a"), make("b", age_ms=HOUR_MS)
    half = len(entries) // 2
    count_on(source, entries[:half], clock)
    assert copy(source, target, clock).equal
    store = count_on(target, entries[half:], clock)
    assert answers(store, store, scope).totals != answers(whole, whole, scope).totals


class Killed(Exception):
    """The process ends here."""


class DyingItems(SqliteItems):
    """Items during whose writes the process is killed now and then: before one, or after it."""

    rng: random.Random

    def put_items(self, items: Sequence[StoredItem]) -> None:
        self._die()
        super().put_items(items)
        self._die()

    def _die(self) -> None:
        if self.rng.random() < 0.2:
            raise Killed


def test_killed_anywhere_it_continues(
    make: Folders, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after any write: the next attempt goes on behind the last page and says so, and nothing is missing or
    there twice."""
    monkeypatch.setattr(sqlite_items, "PAGE_ITEMS", 25)
    entries = a_day(rng, clock, visits=60)
    source, target = make("a"), make("b", age_ms=HOUR_MS)
    before = count_on(source, entries, clock)
    monkeypatch.setattr(DyingItems, "rng", rng, raising=False)
    monkeypatch.setattr(target, "items", lambda generation: DyingItems(target.store_file, generation))
    said: list[str] = []
    kills = 0
    while True:
        copier = copier_of(source, target, clock, said)
        assert not copier.finished_at()
        copier.prepare()
        try:
            copier.copy(lambda _: None)
            break
        except Killed:
            kills += 1
    assert kills > 2
    assert any("it continues behind the first" in line for line in said)
    found = copier.compare(lambda _: None)
    assert copier.finish(found), found
    scope, _ = in_one_run(entries, clock)
    after = target.store(FIRST)
    assert answers(after, after, scope) == answers(before, before, scope)


def test_before_everything_is_counted_it_is_refused(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """Records of the stream are not copied."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    put(source.stream(), a_day(rng, clock))
    with pytest.raises(LiveInsightError, match="not everything is counted yet"):
        copy(source, target, clock)
    count(source.stream(), source.store(FIRST), clock)
    assert copy(source, target, clock).equal


def test_a_target_with_counts_of_its_own_is_refused(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """Or with a copy of another source."""
    source, other, target = make("a"), make("c", age_ms=1), make("b")
    for backend in (source, other):
        count_on(backend, a_day(rng, clock), clock)
    with pytest.raises(LiveInsightError, match="holds counts that are not a copy"):
        copy(source, other, clock)
    assert copy(source, target, clock).equal
    with pytest.raises(LiveInsightError, match="holds a copy of another source"):
        copy(other, target, clock)


def test_a_finished_copy_is_left_alone(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """Also when the target has counted on; if the source has, that is said."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    assert copy(source, target, clock).equal
    count_on(target, a_day(rng, clock), clock)
    assert copier_of(source, target, clock).finished_at() == clock()
    count_on(source, a_day(rng, clock), clock)
    with pytest.raises(LiveInsightError, match="has counted since then is not in it"):
        copier_of(source, target, clock).finished_at()


def test_the_target_waits_for_the_end(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """Until the copy is verified, its workers and its API learn that it is not finished."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    copier = copier_of(source, target, clock)
    copier.finished_at()
    copier.prepare()
    with pytest.raises(StoreUnavailable, match="not finished"):
        load_pointer(target.store(FIRST))
    copier.copy(lambda _: None)
    found = copier.compare(lambda _: None)
    with pytest.raises(StoreUnavailable):
        load_pointer(target.store(FIRST))
    assert copier.finish(found)
    assert load_pointer(target.store(FIRST)).newest == FIRST


def test_a_worker_that_runs_on_the_target_is_refused(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """It would count until it learns of the copy, seconds later. One that was stopped a minute ago is no hindrance."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    target.store(FIRST).write_watermark(Watermark("shardId-0", clock() - 2_000, False, target.stream().incarnation()))
    with pytest.raises(LiveInsightError, match="a worker runs on"):
        copy(source, target, clock)
    clock.advance(minutes=1)
    assert copy(source, target, clock).equal


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_worker_of_the_target_counts_meanwhile_is_noticed(
    make: Folders, clock: FakeClock, rng: random.Random, moment: str
) -> None:
    """Also where every item that it wrote was written over, so that both sides are equal: its event would be lost."""
    entries = a_day(rng, clock)
    source, target = make("a"), make("b", age_ms=HOUR_MS)
    count_on(source, entries, clock)
    copier = copier_of(source, target, clock)
    copier.finished_at()
    copier.prepare()
    if moment == "after":
        copier.copy(lambda _: None)
    count_on(target, [next(entry for entry in entries if isinstance(entry, Event))], clock)
    with pytest.raises(LiveInsightError, match="a worker has run on"):
        copier.finish(Comparison()) if moment == "after" else copier.copy(lambda _: None)
    with pytest.raises(StoreUnavailable, match="not finished"):
        load_pointer(target.store(FIRST))


def test_a_source_that_throttles_is_asked_again(
    make: Folders, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinesis allows five reads a second, and the worker of the source needs most of them."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    copier, read = copier_of(source, target, clock), source.stream().read
    throttled = iter([True, False, True, True])

    def sometimes(iterator: str, limit: int) -> RecordBatch:
        if next(throttled, False):
            raise StreamUnavailable("ProvisionedThroughputExceededException")
        return read(iterator, limit)

    monkeypatch.setattr(source.stream(), "read", sometimes)
    assert copier.uncounted() == []
    assert next(throttled, None) is None


def test_events_of_the_source_meanwhile_are_noticed(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """What it counts during the copy fails the copy; the next attempt takes everything anew."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    said: list[str] = []
    copier = copier_of(source, target, clock, said)
    copier.finished_at()
    copier.prepare()
    copier.copy(lambda _: None)
    count_on(source, a_day(rng, clock), clock)
    assert not copier.finish(copier.compare(lambda _: None))
    assert "more events meanwhile" in said[-1]
    assert copy(source, target, clock, said).equal


@pytest.mark.parametrize("kind", ["counters", "visitors", "timelines", "dead_letters"])
def test_a_difference_is_found(make: Folders, clock: FakeClock, rng: random.Random, kind: str) -> None:
    """What is missing is in the comparison of its kind; the next attempt repairs it."""
    source, target = make("a"), make("b")
    count_on(source, [*a_day(rng, clock), b"no record"], clock)
    copier = copier_of(source, target, clock)
    copier.finished_at()
    copier.prepare()
    copier.copy(lambda _: None)
    with target.store_file.writing() as connection:
        where = f"WHERE mark = (SELECT mark FROM {kind} LIMIT 1)" if kind != "timelines" else "WHERE true"
        connection.execute(f"DELETE FROM {kind} {where}")
    found = copier.compare(lambda _: None)
    assert {name for name in KINDS.values() if found.differing[name]} == {kind.replace("_", " ")}
    assert not copier.finish(found)
    assert copy(source, target, clock).equal


def test_an_item_too_many_is_found(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """As a worker of the target leaves it that ran before the copy had begun, and flushed after it."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    copier = copier_of(source, target, clock)
    copier.finished_at()
    copier.prepare()
    copier.copy(lambda _: None)
    target.store(FIRST).write_visitors([VisitorWrite.of(new_visitor(SITE, 99), 4_000_000_000, is_new=True)])
    found = copier.compare(lambda _: None)
    assert found.target["visitors"] == found.source["visitors"] + 1
    assert not found.differing.total()
    assert not copier.finish(found)


def test_the_exit_code_says_whether_both_are_equal(
    make: Folders, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """1 with a table of the kinds if an item differs; the next attempt is 0, and so is one more, that has nothing to
    do."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)

    def lossy(*args: Any) -> Comparison:
        with target.store_file.writing() as connection:
            connection.execute(
                "UPDATE visitors SET mark = mark || 'x' WHERE visitor = (SELECT max(visitor) FROM visitors)"
            )
        return compare(*args)

    with monkeypatch.context() as patched:
        patched.setattr("liveinsight.copying.copier.compare", lossy)
        assert run(copier_of(source, target, clock), wait=False) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^visitors +5 +5 +1 *$", shown, re.MULTILINE), shown
    assert re.search(r"^timelines +(\d+) +\1 +0 *$", shown, re.MULTILINE), shown
    assert run(copier_of(source, target, clock), wait=False) == 0
    assert run(copier_of(source, target, clock), wait=False) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_dry_run_shows_what_would_be_moved(
    make: Folders, clock: FakeClock, rng: random.Random, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Items and bytes by kind, and whether everything is counted. It asks the source alone."""
    source = make("a")
    clock.now = system_clock()
    count_on(source, a_day(rng, clock), clock)
    monkeypatch.setenv("LIVEINSIGHT_DATA_DIR", source.place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["copy", "--to", "aws", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"from {source.place} to http://127.0.0.1:9" in shown
    assert re.search(r"^visitors +5 +[\d.]+ k?B", shown, re.MULTILINE), shown
    assert "not everything is counted" not in shown
    put(source.stream(), a_day(rng, clock))
    assert main(["copy", "--to", "aws", "--dry-run"]) == 0
    assert "not everything is counted yet: shardId-" in capsys.readouterr().out


def test_what_has_expired_stays_behind(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """After a month only counters without an expiry are moved."""
    source, target = make("a"), make("b")
    count_on(source, a_day(rng, clock), clock)
    clock.advance(hours=40 * 24)
    found = copy(source, target, clock)
    assert found.equal
    assert set(+found.target) == {"counters"}


def test_sites_and_salts_go_along(make: Folders, clock: FakeClock) -> None:
    """Sites with their rules and keys, in place of those that `init` has made; visitors without an id stay the same
    today."""
    source, target = make("a"), make("b")
    create_missing(source.store(FIRST), {"shop": ZoneInfo("Europe/Berlin")})
    create_missing(target.store(FIRST), {"default": ZoneInfo("UTC")})
    today = day_number(utc_day(clock()))
    source.store(FIRST).salt_of_day(today, b"ours", clock() // 1000 + 90_000)
    copy(source, target, clock)
    assert load_sites(target.store(FIRST)) == load_sites(source.store(FIRST))
    assert target.store(FIRST).salt_of_day(today, b"new", 0) == b"ours"


def test_sites_of_the_target_are_not_lost(make: Folders, clock: FakeClock) -> None:
    """A site that only the target knows, and that has rules, is not replaced: the copy is refused."""
    source, target = make("a"), make("b")
    create_missing(target.store(FIRST), {"blog": ZoneInfo("UTC")})
    change_sites(target.store(FIRST), lambda sites: sites.with_site(replace(sites.by_name["blog"], site_rate=9)))
    with pytest.raises(LiveInsightError, match="sites of its own: blog"):
        copy(source, target, clock)


def test_all_active_generations_are_moved(make: Folders, clock: FakeClock, rng: random.Random) -> None:
    """With the pointer: days before the cutover are read from the first generation, the worker writes the second."""
    source, target = make("a"), make("b", age_ms=HOUR_MS)
    count_on(source, a_day(rng, clock), clock)
    list(source.create_generation(2))
    count(source.stream(), source.store(2), clock)
    pointer, version = load_versioned_pointer(source.store(FIRST))
    save_pointer(source.store(FIRST), switched(pointer, 2, day_number(utc_day(clock())), clock()), version)
    found = copy(source, target, clock)
    assert found.equal
    assert load_pointer(target.store(FIRST)).active == load_pointer(source.store(FIRST)).active
    assert load_pointer(target.store(FIRST)).history == ()
    assert target.later_generations() == [2]
    scope, _ = in_one_run(a_day(rng, clock), clock)
    assert answers(_reader(target, clock), target.store(2), scope) == answers(
        _reader(source, clock), source.store(2), scope
    )


def _reader(backend: Backend, clock: FakeClock) -> GenerationalReader:
    return GenerationalReader(
        backend.store, lambda: load_pointer(backend.store(FIRST)), lambda: {SITE: ZoneInfo("UTC")}, clock
    )
