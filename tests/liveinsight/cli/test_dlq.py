"""Dead letters: listed, shown, replayed and purged; and how many there may be before the worker stops."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from liveinsight.__main__ import main
from liveinsight.cli import dlq
from liveinsight.model.errors import LiveInsightError, StreamUnavailable, TooManyDeadLetters, UndecodableRecord
from liveinsight.model.events import encode_record, partition_key
from liveinsight.model.marks import mark_prefix, record_mark
from liveinsight.settings import Settings
from liveinsight.storage.store import DeadLetter
from liveinsight.storage.stream import OutRecord, Record
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.testing.memory_stream import MemoryStream
from liveinsight.wiring import open_store, open_stream
from processor.shard.dead_letter_limit import DeadLetterLimit
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

SHARD = "shardId-000000000000"
GOOD = encode_record([an_event(visitor=300), an_event(visitor=300, at=NOON + 1)])
NASTY = b"\x1b[31mred\x07\x9b\x00" + "\u202e".encode()


def mark(number: int) -> str:
    return record_mark(mark_prefix(1, SHARD), str(number))


def keep(store: MemoryStore, *payloads: bytes) -> list[str]:
    records = [DeadLetter(SHARD, mark(i), "damaged", "cut \x1b[2J", d, NOON, 2**31) for i, d in enumerate(payloads, 1)]
    store.write_dead_letters(records)
    return [record.mark for record in records]


Say = Callable[..., int]


@pytest.fixture
def say(store: MemoryStore, stream: MemoryStream, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs `liveinsight dlq` on the in-memory store and stream; the exit code."""
    monkeypatch.setattr(dlq, "open_newest_store", lambda settings: store)
    monkeypatch.setattr(dlq, "open_stream", lambda settings: stream)
    return lambda *arguments: main(["dlq", *arguments])


def stored(store: MemoryStore) -> list[str]:
    return [summary.mark for summary in dlq.all_dead_letters(store)]


class Acked:
    """Watches that nothing is deleted before it was acknowledged."""

    def __init__(self, stream: MemoryStream, store: MemoryStore) -> None:
        self.stream, self.store = stream, store
        self.before: list[int] = []

    def put(self, records: Any) -> Any:
        self.before.append(len(self.store.dead_letters))
        return self.stream.put(records)


def on_stream(stream: MemoryStream) -> list[Record]:
    return stream.records()


def test_list_shows_what_there_is(say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Every record is a line with its full mark, and a page says how to go on."""
    marks = keep(store, GOOD, NASTY, b"")
    assert say("list", "--limit", "2") == 0
    shown = capsys.readouterr().out
    assert all(f"{SHARD}  damaged" in line for line in shown.splitlines()[1:3])
    assert marks[0] in shown
    assert f"dlq list --after {marks[1]}\n" in shown
    assert say("list", "--limit", "2", "--after", marks[1], "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["next"] is None
    assert [(record["mark"], record["size"]) for record in told["records"]] == [(marks[2], 0)]


def test_show_never_prints_control_characters(say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a record and its message hold, only printable characters reach the terminal."""
    keep(store, NASTY + bytes(range(256)))
    say("show", mark(1))
    say("list")
    shown = capsys.readouterr().out
    assert "1b 5b 33 31 6d 72 65 64 07" in shown
    assert r"cut \x1b[2J" in shown
    assert shown.replace("\n", "").isprintable()


def test_show_says_whether_a_replay_would_help(
    say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that this version can decode is told from one that it cannot."""
    marks = keep(store, GOOD, NASTY)
    for found in marks:
        say("show", found, "--bytes", "4")
    shown = capsys.readouterr().out
    assert "now      can be decoded: 2 events" in shown
    assert "now      cannot be decoded (not_ours)" in shown
    assert "the first 4:" in shown


def test_raw_writes_the_bytes_but_not_to_a_terminal(
    say: Say, store: MemoryStore, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--raw gives a file or a pipe exactly the record's bytes, and refuses a terminal."""
    keep(store, NASTY)
    assert say("show", mark(1), "--bytes", "4", "--raw") == 0
    assert capfdbinary.readouterr().out == NASTY
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert say("show", mark(1), "--raw") == 1
    assert b"file or a pipe" in capfdbinary.readouterr().err


def test_record_is_found_by_the_end_of_its_mark(store: MemoryStore) -> None:
    """The end of a mark will do if it fits one record; otherwise it is refused."""
    marks = keep(store, *[b"x"] * 12)
    assert dlq.find_marks(store, ["00211/", marks[2], "00211"]) == [marks[10], marks[2]]
    with pytest.raises(LiveInsightError, match="fits 2 records"):
        dlq.find_marks(store, ["2"])
    with pytest.raises(LiveInsightError, match="is no dead letter"):
        dlq.find_marks(store, ["\x1bnone"])


def test_replay_puts_back_what_can_be_decoded(store: MemoryStore, stream: MemoryStream) -> None:
    """Decodable records return byte by byte under their visitor's key, acknowledged before they are deleted."""
    good, bad, empty = keep(store, GOOD, NASTY, encode_record([]))
    watched, result = Acked(stream, store), dlq.Replayed()
    dlq.replay(store, watched, [good, bad, empty, mark(99)], result, force=False)
    assert result == dlq.Replayed(put_back=2, undecodable=1, missing=1)
    assert watched.before == [3, 2]
    assert stored(store) == [bad]
    back = {(record.partition_key, record.data) for record in on_stream(stream)}
    assert back == {(partition_key(300), GOOD), (dlq.NO_VISITOR, encode_record([]))}


def test_forced_replay_puts_back_everything_once(
    say: Say, store: MemoryStore, stream: MemoryStream, capsys: pytest.CaptureFixture[str]
) -> None:
    """--force puts back undecodable records, too; without it they are refused and the exit code says so."""
    (kept,) = keep(store, NASTY)
    assert say("replay", kept) == 1
    assert "1 kept, as they still cannot be decoded" in capsys.readouterr().err
    assert say("replay", kept, "--force") == 0
    assert "1 put back on the stream" in capsys.readouterr().err
    assert ([record.data for record in on_stream(stream)], stored(store)) == ([NASTY], [])


def test_record_that_is_not_acknowledged_is_kept(store: MemoryStore, stream: MemoryStream) -> None:
    """A stream that refuses is tried again; if it goes on refusing, the copy stays."""
    marks = keep(store, GOOD)
    stream.refuse_puts = dlq.PUT_ATTEMPTS
    with pytest.raises(StreamUnavailable):
        dlq.replay(store, stream, marks, dlq.Replayed(), force=False, sleep=lambda _: None)
    assert stored(store) == marks
    stream.refuse_puts = dlq.PUT_ATTEMPTS - 1
    dlq.replay(store, stream, marks, dlq.Replayed(), force=False, sleep=lambda _: None)
    assert (stored(store), len(on_stream(stream))) == ([], 1)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "options", "purged"),
    [
        (Terminal("y\n"), [], True),
        (Terminal("\n"), [], False),
        (Terminal(""), [], False),
        (io.StringIO("y\n"), [], False),
        (io.StringIO(""), ["--yes"], True),
    ],
)
def test_purge_asks_first(
    say: Say,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    *,
    typed: io.StringIO,
    options: list[str],
    purged: bool,
) -> None:
    """Records go only after a yes on a terminal, or with --yes."""
    marks = keep(store, GOOD, NASTY)
    monkeypatch.setattr("sys.stdin", typed)
    assert say("purge", "--all", *options) == (0 if purged else 2)
    assert stored(store) == ([] if purged else marks)


@pytest.mark.parametrize("arguments", [["replay"], ["purge", "--all", "x"], [], ["show"]])
def test_command_line_that_names_no_record_is_refused(arguments: list[str]) -> None:
    """Nothing happens to records that were not named."""
    assert main(["dlq", *arguments]) == 2


def outcomes(limit: DeadLetterLimit, text: str) -> int:
    """How many of the records in `text` ("." or "x") go by before it stops."""
    for number, char in enumerate(text):
        try:
            limit.note_decoded() if char == "." else limit.note_undecodable(SHARD, UndecodableRecord("not_ours", "?"))
        except TooManyDeadLetters:
            return number
    return len(text)


@pytest.mark.parametrize(
    ("share", "text", "passed"),
    [
        (0.2, "." * 50 + "x" * 30, 70),
        (0.2, "x" * 30, 20),
        (0.2, ("x" + "." * 4) * 200, 1000),
        (0.2, ("x" + "." * 4) * 200 + "xx", 1001),
        (0.2, "x" * 20 + "." * 80 + "x", 101),
        (0.2, "x" * 20 + "." * 79 + "x", 99),
        (0.0, "xx" + "." * 98 + "xx" + "." * 98, 200),
        (0.0, "x.x.x", 4),
        (1.0, "x" * 1000, 1000),
    ],
)
def test_limit_counts_the_last_hundred_records(share: float, text: str, passed: int) -> None:
    """It stops at one more than the share of the last hundred, never at one or two, and never when all may."""
    assert outcomes(DeadLetterLimit(share), text) == passed


class NoCheckpoint:
    def checkpoint(self, sequence_number: str) -> None:
        raise AssertionError("nothing may be checkpointed")


def test_batch_that_is_too_bad_leaves_no_trace(clock: FakeClock, rng: random.Random) -> None:
    """Whatever the cut into batches, the batch beyond the limit is neither counted, nor kept, nor checkpointed."""
    records = [Record(str(n), "k", rng.choice([GOOD, NASTY]), NOON) for n in range(1, 300)]
    stopped_at = set()
    for size in (1, 7, 299):
        processor = RecordProcessor(MemoryStore(), 1, ProcessorOptions(sessions_interval=60), clock)
        processor.initialize(SHARD, "")
        processor.process_records([], NoCheckpoint(), 0)
        for first in range(0, len(records), size):
            before = processor.progress.dead_letters
            try:
                processor.process_records(records[first : first + size], NoCheckpoint(), 0)
            except TooManyDeadLetters as error:
                assert processor.progress.dead_letters == before
                assert processor.progress.records == first
                stopped_at.add(str(error))
                break
    assert len(stopped_at) == 1
    assert "LIVEINSIGHT_DEAD_LETTER_LIMIT=1" in stopped_at.pop()


def run(environ: dict[str, str], *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEINSIGHT_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={**base, **environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_worker_process_stops_at_a_bad_deploy(environ: dict[str, str], settings: Settings) -> None:
    """A worker that meets records of a newer version ends with code 1 and says what to do, with no dead letter."""
    stream, store = open_stream(settings), open_store(settings)
    newer = b"LI\x02" + GOOD[3:]
    stream.put([OutRecord("b001", GOOD)] * 30 + [OutRecord("b001", newer)] * 100)
    for _ in range(2):
        ended = run(environ, "liveinsight", "worker", LIVEINSIGHT_SESSIONS_INTERVAL="0.1")
        assert ended.returncode == 1
        last = ended.stderr.splitlines()[-1]
        assert last.startswith("liveinsight worker: shard shardId-")
        assert "21 of the last 100 records cannot be decoded (21 unknown_version; this worker reads version 1" in last
        assert "deploy this worker in the same version" in last
        assert store.list_dead_letters(10) == []
        assert all(not point.sequence_number for point in store.load_checkpoints().values())


def test_commands_on_a_backend(environ: dict[str, str], settings: Settings) -> None:
    """As processes: what the store keeps is listed, put back on the stream, and purged."""
    store = open_store(settings)
    records = [DeadLetter(SHARD, mark(n), "damaged", "cut", data, NOON, 2**31) for n, data in ((1, GOOD), (2, NASTY))]
    store.write_dead_letters(records)
    assert mark(1) in run(environ, "liveinsight", "dlq", "list").stdout
    replayed = run(environ, "liveinsight", "dlq", "replay", "--all")
    assert (replayed.returncode, replayed.stderr.split(";")[0]) == (1, "1 put back on the stream")
    assert run(environ, "liveinsight", "dlq", "purge", "--all").returncode == 2
    assert [summary.mark for summary in store.list_dead_letters(9)] == [mark(2)]
    assert run(environ, "liveinsight", "dlq", "purge", "--all", "--yes").stdout == "1 dead letter deleted\n"
    assert store.list_dead_letters(9) == []
