"""`liveinsight dlq`: list, show, replay and purge dead letters: records that the worker could not decode.

In: dead letters in the store. Out: text that is safe on a terminal, records on the stream. Promise: `replay` deletes a
record only after the stream has acknowledged it. A crash between the two leaves a copy; to replay it again is harmless,
because the worker recognises repeated events.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from liveinsight.model.errors import LiveInsightError, StreamUnavailable, UndecodableRecord
from liveinsight.model.events import decode_record, partition_key
from liveinsight.runtime.command_line import confirm, json_option, yes_option
from liveinsight.runtime.report_text import report_console, time_text
from liveinsight.runtime.retry import retry
from liveinsight.runtime.terminal_text import hex_dump, json_text, printable
from liveinsight.settings import Settings
from liveinsight.storage.store import DeadLetter, DeadLetterStore, DeadLetterSummary
from liveinsight.storage.stream import OutRecord, PutOutcome
from liveinsight.wiring import open_newest_store, open_stream

PAGE = 500
PUT_ATTEMPTS = 6
NO_VISITOR = "dead-letter"
"""Partition key of a record without a visitor."""


class PutStream(Protocol):
    """What a replay needs of a stream."""

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        """One PutRecords call."""


@dataclass
class Replayed:
    """Counts of replayed records by outcome."""

    put_back: int = 0
    undecodable: int = 0
    missing: int = 0

    def __str__(self) -> str:
        parts = [f"{self.put_back} put back on the stream"]
        if self.undecodable:
            parts.append(f"{self.undecodable} kept, as they still cannot be decoded (--force puts them back, too)")
        if self.missing:
            parts.append(f"{self.missing} missing or incomplete")
        return "; ".join(parts)


def all_dead_letters(store: DeadLetterStore) -> Iterator[DeadLetterSummary]:
    """Every dead letter, page by page."""
    after = ""
    while page := store.list_dead_letters(PAGE, after):
        yield from page
        after = page[-1].mark


def find_marks(store: DeadLetterStore, wanted: Sequence[str]) -> list[str]:
    """The marks that `wanted` names: each is a mark, or the end of exactly one mark.

    Raises:
        LiveInsightError: a name fits no record, or several records.
    """
    known: list[str] | None = None
    found = []
    for text in wanted:
        if store.load_dead_letter(text):
            found.append(text)
            continue
        if known is None:
            known = [summary.mark for summary in all_dead_letters(store)]
        fitting = [mark for mark in known if mark.rstrip("/").endswith(text.rstrip("/"))]
        if len(fitting) != 1:
            problem = f"fits {len(fitting)} records, give more of the mark" if fitting else "is no dead letter"
            raise LiveInsightError(f"{printable(text)!r} {problem}: see `liveinsight dlq list`")
        found.extend(fitting)
    return list(dict.fromkeys(found))


def key_for(data: bytes) -> str:
    """The partition key of the record's visitor, which keeps its events in order.

    Raises:
        UndecodableRecord: this version cannot decode it either.
    """
    events = decode_record(data)
    return partition_key(events[0].visitor) if events else NO_VISITOR


def replay(
    store: DeadLetterStore,
    stream: PutStream,
    marks: Iterable[str],
    result: Replayed,
    *,
    force: bool,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Put records back on the stream, delete each when it is acknowledged, and count them in `result`.

    Raises:
        StreamUnavailable: the current record and the later ones are kept.
    """
    for mark in marks:
        record = store.load_dead_letter(mark)
        if record is None:
            result.missing += 1
            continue
        try:
            key = key_for(record.data)
        except UndecodableRecord:
            if not force:
                result.undecodable += 1
                continue
            key = NO_VISITOR
        _put(stream, OutRecord(key, record.data), sleep)
        store.delete_dead_letters([mark])
        result.put_back += 1


def _put(stream: PutStream, record: OutRecord, sleep: Callable[[float], object]) -> None:
    def put() -> None:
        outcome = stream.put([record])[0]
        if not outcome.sequence_number:
            raise StreamUnavailable(f"the stream did not accept the record: {outcome.error}")

    retry(put, StreamUnavailable, attempts=PUT_ATTEMPTS, sleep=sleep)


_all_option = click.option("--all", "everything", is_flag=True, help="all dead letters that exist now")


@click.group()
def command() -> None:
    """Manage dead letters: records that the worker could not decode. They are kept for 30 days.

    Put them back on the stream when a worker can decode them, or delete them. A MARK names a record as `list` shows it;
    the end of a mark is enough if it fits only one record.

    \b
    Examples:
      liveinsight dlq list --limit 20
      liveinsight dlq show 000000000000004951
      liveinsight dlq replay --all
    """


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, metavar="N", help="maximum number of rows")
@click.option("--after", default="", metavar="MARK", help="continue after this full mark")
@json_option
def list_dead_letters(limit: int, after: str, *, as_json: bool) -> None:
    """List dead letters by mark: time, reason, size and mark."""
    rows = _store().list_dead_letters(limit + 1, after)
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        records = [{**row._asdict(), "arrived_at": time_text(row.arrived_at)} for row in rows]
        click.echo(json_text({"records": records, "next": rows[-1].mark if more else None}))
        return
    table = Table("arrived", "shard", "reason", "bytes", box=None, padding=(0, 2, 0, 0))
    table.columns[3].justify = "right"
    table.add_column("mark", overflow="fold")
    for row in rows:
        cells = (time_text(row.arrived_at), row.shard_id, row.reason, f"{row.size:,}", row.mark)
        table.add_row(*(printable(cell) for cell in cells))
    console = report_console()
    console.print(table if rows else "no dead letters")
    if more:
        console.print(f"more: liveinsight dlq list --after {rows[-1].mark}", soft_wrap=True)


@command.command()
@click.argument("mark")
@click.option("--raw", is_flag=True, help="write the bytes of the record to standard output, unchanged")
@click.option(
    "--bytes", "count", type=click.IntRange(0), default=512, metavar="N", help="maximum number of bytes to show"
)
def show(mark: str, count: int, *, raw: bool) -> None:
    """Show why a record could not be decoded, whether it can be decoded now, and its bytes."""
    if raw and sys.stdout.isatty():
        raise LiveInsightError("the bytes may contain control characters: redirect them to a file or a pipe")
    store = _store()
    (mark,) = find_marks(store, [mark])
    record = store.load_dead_letter(mark)
    if record is None:
        raise LiveInsightError(f"{printable(mark)} is missing or incomplete")
    if raw:
        sys.stdout.buffer.write(record.data)
        sys.stdout.buffer.flush()
    else:
        click.echo("\n".join(_described(record, count)))


def _described(record: DeadLetter, count: int) -> Iterator[str]:
    yield f"mark     {printable(record.mark)}"
    yield f"arrived  {time_text(record.arrived_at)}, kept until {time_text(1000 * record.expires_at)}"
    yield f"reason   {printable(record.reason)}: {printable(record.message)}"
    try:
        yield f"now      can be decoded: {len(decode_record(record.data))} events; `liveinsight dlq replay` counts them"
    except UndecodableRecord as error:
        yield f"now      cannot be decoded ({printable(error.reason)})"
    yield f"size     {len(record.data):,} bytes" + (f", the first {count:,}:" if len(record.data) > count else "")
    yield ""
    yield from hex_dump(record.data[:count])


@command.command("replay")
@click.argument("marks", nargs=-1, metavar="[MARK]...")
@_all_option
@click.option("--force", is_flag=True, help="also records that still cannot be decoded")
def replay_dead_letters(marks: tuple[str, ...], *, everything: bool, force: bool) -> int:
    """Put records back on the stream, and delete each when the stream has it.

    Records that this version cannot decode are kept. Exit code 1: there were such records.
    """
    store, chosen = _chosen(marks, everything=everything)
    stream = open_stream(Settings.from_env(os.environ))
    console = Console(stderr=True, highlight=False, markup=False)
    result = Replayed()
    shown = track(chosen, "replaying", console=console, transient=True, disable=not console.is_terminal)
    try:
        replay(store, stream, shown, result, force=force)
    finally:
        console.print(str(result))
    return 1 if result.undecodable else 0


@command.command()
@click.argument("marks", nargs=-1, metavar="[MARK]...")
@_all_option
@yes_option
def purge(marks: tuple[str, ...], *, everything: bool, yes: bool) -> None:
    """Delete records for good."""
    store, chosen = _chosen(marks, everything=everything)
    count = f"{len(chosen)} dead letter{'' if len(chosen) == 1 else 's'}"
    confirm(f"Delete {count} for good?", yes=yes or not chosen)
    store.delete_dead_letters(chosen)
    click.echo(f"{count} deleted")


def _store() -> DeadLetterStore:
    return open_newest_store(Settings.from_env(os.environ))


def _chosen(marks: Sequence[str], *, everything: bool) -> tuple[DeadLetterStore, list[str]]:
    """The store and the chosen marks, fixed before the first record moves: a replay does not meet its own failures."""
    if bool(marks) == everything:
        raise click.UsageError("name records by MARK, or use --all")
    store = _store()
    return store, [record.mark for record in all_dead_letters(store)] if everything else find_marks(store, marks)
