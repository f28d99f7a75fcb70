"""`liveinsight verify`: what it compares and what it leaves out, archives, and a real worker held to a recount."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ingest.delivery.group_commit import GroupCommit
from ingest.importer.access_log import PageRules
from ingest.importer.import_log import Importer, Target
from ingest.pipeline.context import Policy
from ingest.pipeline.pipeline import Pipeline
from liveinsight.counting.counters import CounterItem
from liveinsight.counting.keys import CounterKey, dimension_key, totals_key
from liveinsight.model.buckets import QUARTER_MS, day_number, local_midnight_ms, quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import CLICK, Event, encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.sites.site import plain_sites
from liveinsight.storage.store import CounterWrite, Store, Watermark
from liveinsight.storage.stream import OutRecord, Record
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.wiring import open_store, open_stream
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from processor.verify import archive
from processor.verify.command import Gathered, verify
from processor.verify.comparison import tolerance
from processor.verify.report import VerifyReport, show_json, show_text
from processor.verify.settled import WaitLimits, wait_for_watermarks
from processor.verify.stream_reader import Coverage, KeptRecord, StreamReader

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SETTINGS = Settings.from_env({"LIVEINSIGHT_SITES": "default=UTC berlin=Europe/Berlin"})
SHARD = "shardId-000000000000"


class Checkpointer:
    def checkpoint(self, sequence_number: str) -> None:
        """Kept nowhere: every count in these tests is one run."""


def put(stream: MemoryStream, *events: Event) -> None:
    stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])


def count(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """The worker's work, done a second later."""
    clock.advance(seconds=1)
    kept = StreamReader(stream, clock, sleep=lambda _: None)
    records: dict[str, list[Record]] = {shard.shard_id: [] for shard in stream.shards()}
    for found in kept.read():
        records[found.shard_id].append(found.record)
    for shard_id, found_records in records.items():
        processor = RecordProcessor(store, stream.incarnation(), ProcessorOptions(), clock)
        processor.initialize(shard_id, "")
        processor.process_records(found_records, Checkpointer(), 0)
        processor.shutdown_requested(Checkpointer())


def check(
    stream: MemoryStream,
    store: MemoryStore,
    clock: FakeClock,
    days: tuple[date, date] | None = None,
    meanwhile: Sequence[Event] = (),
) -> VerifyReport:
    reader = StreamReader(stream, clock, sleep=lambda _: None)
    records = list(reader.read())

    def more() -> Iterator[KeptRecord]:
        put(stream, *meanwhile)
        return reader.read()

    gathered = Gathered(records, reader.coverage, more)
    quiet = Console(stderr=True, quiet=True)
    zones = SETTINGS.sites
    return verify(
        gathered,
        store,
        SETTINGS,
        days,
        clock,
        zones=zones,
        limits=WaitLimits(0, 0),
        console=quiet,
        sleep=lambda _: None,
    )


def corrupt(store: Store, shard: str, key: CounterKey, **changes: int) -> None:
    """Add to measures of one counter behind everybody's back."""
    item = store.load_counters(shard, [key]).get(key) or CounterItem()
    for name, amount in changes.items():
        item.measures[name] = item.measures.get(name, 0) + amount
    assert store.write_counters(shard, [CounterWrite.of(key, item.mark, item, 0)]).refused == []


def found(report: VerifyReport) -> list[tuple[str, str, str, str, int, int]]:
    """Differences as (place, dimension, value, measure, stored, recounted)."""
    return [
        (d.place, getattr(d.key, "dimension", ""), getattr(d.key, "value", ""), d.measure, d.stored, d.recounted)
        for d in report.comparison.differences
    ]


@pytest.fixture
def stream(clock: FakeClock) -> MemoryStream:
    return MemoryStream(clock, shards=1)


def test_right_counters_are_found_right(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """Sites, late events, repeats and splits: what the worker has counted equals the recount."""
    events = [an_event(at=NOON - n * 7 * MINUTE, visitor=n % 5, page=f"/{n % 3}") for n in range(40)]
    put(stream, *events[:20], an_event(site="berlin", zone="Europe/Berlin"), events[3])
    stream.split(SHARD)
    put(stream, *events[20:], events[39])
    count(stream, store, clock)
    report = check(stream, store, clock)
    assert (found(report), report.problem, report.exit_code) == ([], "", 0)
    assert report.events == 41
    assert report.comparison.compared == 50


@pytest.mark.parametrize("key", [totals_key("default", quarter_of(NOON)), dimension_key("default", 0, "page", "/")])
def test_every_wrong_measure_is_named(
    stream: MemoryStream, store: MemoryStore, clock: FakeClock, key: CounterKey
) -> None:
    """A counter that holds more than it should is named with the measure, and with both numbers."""
    event = an_event()
    key = key._replace(bucket=key.bucket or event.day)
    put(stream, event)
    count(stream, store, clock)
    corrupt(store, SHARD, key, pageviews=2)
    report = check(stream, store, clock)
    assert [row[1:] for row in found(report)] == [(key.dimension, key.value, "pageviews", 3, 1)]
    assert report.exit_code == 1


def test_counter_of_no_event_is_found(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """A stored row that nothing has been counted for is a difference; one on days not asked about is not."""
    put(stream, an_event())
    count(stream, store, clock)
    day = date(2026, 9, 20)
    for number in (20260921, 20260920):
        corrupt(store, SHARD, dimension_key("default", number, "page", "/ghost"), pageviews=1)
    report = check(stream, store, clock, days=(date(2026, 9, 18), day))
    assert found(report) == [("2026-09-20", "page", "/ghost", "pageviews", 1, 0)]


def test_worker_that_lags_is_told(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """What the watermark does not cover is left out; when the worker is far behind, no answer is given."""
    put(stream, an_event(at=NOON - 2 * HOUR, visitor=1))
    count(stream, store, clock)
    put(stream, an_event(at=NOON, visitor=2))
    clock.advance(seconds=5)
    report = check(stream, store, clock)
    assert (found(report), report.exit_code) == ([], 0)
    assert report.comparison.unsettled > 10
    clock.advance(minutes=4)
    assert "lags: it has not counted 1 events" in (report := check(stream, store, clock)).problem
    assert report.exit_code == 2


def test_nothing_counted_yet_is_no_difference(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """Without a worker nothing can be told; an empty stream has nothing to compare."""
    assert "nothing to compare" in check(stream, store, clock).problem
    put(stream, an_event())
    report = check(stream, store, clock)
    assert (found(report), report.exit_code) == ([], 2)


def test_visit_that_goes_on_meanwhile_is_left_out(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """An event that arrives during the check takes out every bucket of its visit, and no other."""
    put(stream, an_event(at=NOON, visitor=1), an_event(at=NOON + 4 * HOUR, visitor=2))
    clock.now = NOON + 4 * HOUR
    count(stream, store, clock)
    late = an_event(at=NOON + 29 * MINUTE, visitor=1, type=CLICK)
    corrupt(store, SHARD, totals_key("default", quarter_of(NOON)), visits=5)
    corrupt(store, SHARD, totals_key("default", quarter_of(NOON + 4 * HOUR)), visits=5)
    report = check(stream, store, clock, meanwhile=[late])
    assert [(row[0][-6:], row[3]) for row in found(report)] == [("16:00Z", "visits")]


def old_stream(store: MemoryStore, clock: FakeClock) -> MemoryStream:
    """Three days old; what came before the last day is gone from it, but counted."""
    whole = MemoryStream(clock, shards=1, created_at=clock())
    start = clock()
    for minute in range(0, 72 * 60, 10):
        clock.now = start + minute * MINUTE
        if minute % 120 == 0:
            put(whole, *[an_event(at=clock(), visitor=minute + 1, page=page) for page in ("/a", "/b")])
        # One visit that is under way while the last day begins.
        if 47 * 60 <= minute <= 48 * 60 + 20:
            put(whole, an_event(at=clock(), visitor=7777, page=f"/long{minute}"))
    put(whole, *[an_event(at=start + 46 * HOUR + 10 * MINUTE, visitor=2761, page=f"/late{n}") for n in range(2)])
    count(whole, store, clock)
    whole.keep(SHARD, [record for record in whole.records(SHARD) if record.arrived_at > clock() - DAY])
    return whole


def test_only_what_the_stream_still_holds_is_compared(store: MemoryStore, clock: FakeClock) -> None:
    """Counters from before the oldest record are left out, and days that begin before it cannot be verified."""
    stream = old_stream(store, clock)
    report = check(stream, store, clock)
    assert (found(report), report.exit_code) == ([], 0)
    assert report.complete_from is not None
    assert 0 < report.complete_from - (clock() - DAY) <= 50 * MINUTE
    assert report.complete_from % QUARTER_MS == 0
    assert report.comparison.unknown > 0
    assert any("no longer available" in note for note in report.notes)
    days = (date(2026, 9, 22), date(2026, 9, 24))
    assert "no longer holds all records of these days" in (report := check(stream, store, clock, days)).problem
    assert report.exit_code == 2


def test_limits_of_the_worker_are_noted(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """Two visits that a late event would join are counted as the worker does, and reported; so is a dead letter."""
    put(stream, an_event(at=NOON), an_event(at=NOON + 50 * MINUTE), an_event(at=NOON + 25 * MINUTE))
    stream.put([OutRecord("b001", b"poison")])
    count(stream, store, clock)
    report = check(stream, store, clock)
    assert (found(report), report.exit_code) == ([], 0)
    assert [note.split(" ", 1)[0] for note in report.notes] == ["1", "1"]


def test_sketch_may_be_wrong_by_its_error_only(stream: MemoryStream, store: MemoryStore, clock: FakeClock) -> None:
    """Thousands of visitors are right within the error; a sketch with too few of them is a difference."""
    put(stream, *[an_event(visitor=n + 1, event_id=n + 1) for n in range(3_000)])
    count(stream, store, clock)
    assert found(check(stream, store, clock)) == []
    key = dimension_key("default", an_event().day, "page", "/")
    store.counters[SHARD, key].sketch = None
    assert found(check(stream, store, clock)) == [("2026-09-21", "page", "/", "visitors", 0, 3_000)]
    assert [tolerance(n, 11) for n in (0, 1, 2, 12, 100)] == [0, 0, 1, 1, 7]
    assert [tolerance(n, 10) for n in (1, 2, 12, 20, 100)] == [0, 1, 1, 2, 10]


def test_report_prints_no_control_characters(
    stream: MemoryStream, store: MemoryStore, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page's name from outside is shown with escapes, as a table and as JSON."""
    nasty = "/\x1b[31m\x07\x9b\x7f"
    put(stream, an_event(page=nasty))
    count(stream, store, clock)
    corrupt(store, SHARD, dimension_key("default", an_event().day, "page", nasty), pageviews=1)
    report = check(stream, store, clock)
    for show in (show_text, show_json):
        show(report)
        shown = capsys.readouterr().out
        assert shown.replace("\n", "").isprintable()
        assert "[31m" in shown
    assert json.loads(shown)["differences"][0]["value"] == nasty


def kept(number: int) -> KeptRecord:
    return KeptRecord(1, SHARD, Record(str(number), "b001", bytes([number]) * number, NOON + number))


@pytest.mark.parametrize("name", ["records", "records.gz"])
def test_archive_gives_back_what_was_saved(tmp_path: Path, name: str) -> None:
    """Records survive byte by byte; overlapping files give each record once, in order."""
    first, second = tmp_path / name, tmp_path / f"2{name}"
    archive.save(first, [kept(n) for n in range(1, 11)], Coverage(None, 100))
    archive.save(second, [kept(n) for n in range(8, 13)], Coverage(90, 200))
    assert archive.load([second, first]) == ([kept(n) for n in range(1, 13)], Coverage(None, 200))
    assert first.read_bytes()[:1] == (b"\x1f" if name.endswith("gz") else b"{")


def test_archive_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    """A file that was cut or is something else, and files with time missing between them, are no archive."""
    path, later = tmp_path / "records", tmp_path / "later"
    archive.save(path, [kept(1), kept(2)], Coverage(None, 100))
    archive.save(later, [kept(3)], Coverage(101, 200))
    with pytest.raises(LiveInsightError, match="gap between the archives"):
        archive.load([path, later])
    lines = path.read_text().splitlines(keepends=True)
    packed = gzip.compress("".join(lines).encode())
    for broken in (
        "".join(lines[:-1]),
        "".join([*lines, lines[1]]),
        lines[0] + lines[1] + lines[3],
        "[]\n",
        "",
        lines[0] + '{"at": 1}',
    ):
        path.write_text(broken)
        with pytest.raises(LiveInsightError, match="not a readable archive"):
            archive.load([path])
    for content in (packed[:-9], b"\x00\xff", packed[:30] + b"xx" + packed[32:]):
        path.write_bytes(content)
        with pytest.raises(LiveInsightError, match="not a readable archive"):
            archive.load([path])


def test_stream_that_is_throttled_is_read_all_the_same(stream: MemoryStream, clock: FakeClock) -> None:
    """Reading waits for a stream that refuses, and a second read gives only what has come since, on new shards too."""
    put(stream, *[an_event(visitor=n, event_id=n + 1) for n in range(50)])
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        stream.down = len(slept) < 3

    reader = StreamReader(stream, clock, sleep=sleep)
    stream.down = True
    assert len(list(reader.read())) == 50
    assert len(slept) >= 3
    stream.split(SHARD)
    put(stream, *[an_event(visitor=n, event_id=n + 100) for n in range(20)])
    assert len({found.shard_id for found in reader.read()}) == 2
    assert list(reader.read()) == []


AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
FIRST = date(2015, 5, 17)


def log_lines(rng: random.Random, requests: int) -> list[str]:
    """Page requests of some fifty visitors over three days, a little out of order."""
    start = local_midnight_ms(FIRST, SETTINGS.sites["default"]) // 1000
    lines = []
    for number in range(requests):
        at = start + 60 + number * 3 * 86_000 // requests + rng.randrange(60)
        stamp = time.strftime("%d/May/%Y:%H:%M:%S", time.gmtime(at))
        referrer = rng.choice(["-", "https://www.google.com/", "https://other.example/x"])
        lines.append(
            f'198.51.100.{rng.randrange(50)} - - [{stamp} +0000] "GET /p/{rng.randrange(9)} HTTP/1.1" 200 5 '
            f'"{referrer}" "{AGENT}"'
        )
    return lines


def clean(environ: dict[str, str]) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    return {**base, **environ}


@contextmanager
def a_worker(environ: dict[str, str]) -> Iterator[None]:
    """`liveinsight worker` as an operator starts it, drained at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "liveinsight", "worker"], env=clean(environ), stderr=subprocess.DEVNULL
    )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def run_verify(environ: dict[str, str], *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "liveinsight", "verify", "--json", *arguments],
        env=clean(environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_real_worker_is_held_to_the_recount(
    tmp_path: Path,
    environ: dict[str, str],
    settings: Settings,
    rng: random.Random,
) -> None:
    """A counted import has no difference, from the stream and from an archive; one wrong counter is named, exactly."""
    stream, store = open_stream(settings), open_store(settings)
    environ = {**environ, "LIVEINSIGHT_SESSIONS_INTERVAL": "0.3"}
    pipeline = Pipeline(
        lambda: plain_sites(settings.sites), GroupCommit(stream), lambda *_: b"salt" * 8, policy=Policy(max_age_ms=None)
    )
    importer = Importer(pipeline, PageRules(), Target("default", "http://blog.example"), system_clock)
    lines = log_lines(rng, 3_000)
    for start in range(0, len(lines), 500):
        importer.send("log", lines[start : start + 500])
    sent_at = system_clock()
    assert run_verify(environ, "--wait", "0")[0] == 2
    with a_worker(environ):
        give_up_at = time.monotonic() + 60
        while (freshest_possible(store.read_watermarks().rows) or 0) <= sent_at:
            assert time.monotonic() < give_up_at, "the worker did not catch up"
            time.sleep(0.05)
    saved = tmp_path / "records.gz"
    code, told = run_verify(environ, "--save", str(saved))
    assert (code, told["differences"], told["events"]) == (0, [], 3_000), told
    assert told["counters"]["not_settled"] == told["counters"]["not_known"] == 0
    assert told["counters"]["compared"] > 300

    shard = stream.shards()[0].shard_id
    corrupt(store, shard, dimension_key("default", day_number(FIRST), "page", "/p/3"), pageviews=-1)
    for arguments in ([], ["--archive", str(saved)], ["--from", "2015-05-17", "--to", "2015-05-18"]):
        code, told = run_verify(environ, *arguments)
        assert code == 1
        (difference,) = told["differences"]
        recounted = difference.pop("recounted")
        assert difference == {
            "site": "default",
            "place": "2015-05-17",
            "dimension": "page",
            "value": "/p/3",
            "measure": "pageviews",
            "stored": recounted - 1,
        }
    assert run_verify(environ, "--from", "2015-05-18", "--to", "2015-05-19")[0] == 0
    code, told = run_verify(
        {**environ, "LIVEINSIGHT_STREAM": "nobody-has-made-this", "LIVEINSIGHT_DATA_DIR": str(tmp_path / "nothing")}
    )
    assert (code, told.startswith("liveinsight verify: ")) == (2, True), "neither a difference nor a traceback"


def test_waiting_ends_with_the_next_flush_or_with_the_worker() -> None:
    """Watermarks that move are waited for; a worker that moves none is not running."""
    moments: list[float] = []

    def waited(reads: list[int], *, enough: int) -> float:
        """Seconds until the wait was over; the worker's marks are `reads`, one a second, the last one for good."""
        moments.clear()

        def read() -> list[Watermark]:
            second = min(int(sum(moments)), len(reads) - 1)
            return [Watermark("shardId-0", reads[second], False, 1)]

        wait_for_watermarks(read, lambda rows: rows[0].as_of >= enough, WaitLimits(60, 5), moments.append)
        return sum(moments)

    assert waited([9], enough=9) == 0
    assert waited([1, 1, 1, 1, 9], enough=9) == pytest.approx(4)
    assert waited([1], enough=9) == pytest.approx(5)
    assert waited(list(range(100)), enough=1_000) == pytest.approx(60)
