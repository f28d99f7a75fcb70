"""`liveinsight dlq`: list, show, put back and delete dead letters: records that the worker could not decode.

    list    what there is            show    one record, its bytes as a dump that is safe on a terminal
    replay  back onto the stream     purge   away for good

A record is deleted only after the stream has acknowledged it. Whoever dies in between leaves a copy behind;
replaying that again is harmless, as repeated events are recognised downstream.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import track
from rich.table import Table

from liveinsight.model.errors import LiveInsightError, StreamUnavailable, UndecodableRecord
from liveinsight.model.events import decode_record, partition_key
from liveinsight.runtime.report_text import report_console, time_text
from liveinsight.runtime.terminal_text import hex_dump, json_text, printable
from liveinsight.settings import Settings
from liveinsight.storage.store import DeadLetter, DeadLetterStore, DeadLetterSummary
from liveinsight.storage.stream import OutRecord, PutOutcome
from liveinsight.wiring import open_newest_store, open_stream

PAGE = 500
SHOWN_BYTES = 512
PUT_ATTEMPTS = 6
NO_VISITOR = "dead-letter"
"""Partition key of a record without a visitor."""


class PutStream(Protocol):
    """What a replay needs of a stream."""

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        """One PutRecords call."""


@dataclass
class Replayed:
    """What became of the records that were to be replayed."""

    put_back: int = 0
    undecodable: int = 0
    missing: int = 0

    def __str__(self) -> str:
        parts = [f"{self.put_back} put back on the stream"]
        if self.undecodable:
            parts.append(f"{self.undecodable} kept, as they still cannot be decoded (--force puts them back, too)")
        if self.missing:
            parts.append(f"{self.missing} not there any more, or not whole")
        return "; ".join(parts)


def all_dead_letters(store: DeadLetterStore) -> Iterator[DeadLetterSummary]:
    """Every dead letter, page by page."""
    after = ""
    while page := store.list_dead_letters(PAGE, after):
        yield from page
        after = page[-1].mark


def find_marks(store: DeadLetterStore, wanted: Sequence[str]) -> list[str]:
    """The marks that `wanted` names: each in full, or its end as far as it fits one record only.

    Raises:
        LiveInsightError: a name fits no record, or several.
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
            problem = f"fits {len(fitting)} records, give more of its mark" if fitting else "is no dead letter"
            raise LiveInsightError(f"{printable(text)!r} {problem}: see `liveinsight dlq list`")
        found.extend(fitting)
    return list(dict.fromkeys(found))


def key_for(data: bytes) -> str:
    """The partition key that keeps the order of the record's visitor.

    Raises:
        UndecodableRecord: the record cannot be decoded by this version either.
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
    """Put records back on the stream and delete each when it is acknowledged; counts go into `result`.

    Raises:
        StreamUnavailable: this record and the following ones are kept.
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
    problem = ""
    for attempt in range(PUT_ATTEMPTS):
        outcome = stream.put([record])[0]
        if outcome.sequence_number:
            return
        problem = outcome.error
        sleep(0.1 * 2**attempt)
    raise StreamUnavailable(f"the stream did not take the record: {problem}")


def build_parser() -> argparse.ArgumentParser:
    """The command line of `liveinsight dlq`."""
    parser = argparse.ArgumentParser(
        prog="liveinsight dlq",
        description="Records that the worker could not decode are kept for 30 days as dead letters. List them, look "
        "into one, put them back on the stream once a worker can read them, or delete them.",
        epilog="MARK is a record's mark as `list` shows it, or the end of it as far as it fits one record only.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    lister = actions.add_parser(
        "list", help="what there is", description="One line a record, by mark: when, why, how large, and its mark."
    )
    lister.add_argument("--limit", type=int, default=100, metavar="N", help="rows at most (default %(default)s)")
    lister.add_argument("--after", default="", metavar="MARK", help="go on after this full mark")
    lister.add_argument("--json", action="store_true", help="as JSON")
    shower = actions.add_parser(
        "show",
        help="one record",
        description="Why a record could not be decoded, whether it can be now, and its bytes.",
    )
    shower.add_argument("mark", metavar="MARK")
    shower.add_argument("--raw", action="store_true", help="write the record's bytes to standard output, as they are")
    shower.add_argument(
        "--bytes", type=int, default=SHOWN_BYTES, metavar="N", help="bytes to show (default %(default)s)"
    )
    replayer = actions.add_parser(
        "replay",
        help="put records back on the stream",
        description="Puts records on the stream and forgets them once it has them. Those that this version cannot read "
        "either are left where they are.",
    )
    replayer.add_argument("--force", action="store_true", help="also those that would become dead letters again")
    purger = actions.add_parser(
        "purge", help="delete records for good", description="Deletes records; asks before, unless told not to."
    )
    purger.add_argument("--yes", action="store_true", help="do not ask")
    for taker in (replayer, purger):
        which = taker.add_mutually_exclusive_group(required=True)
        which.add_argument("marks", nargs="*", default=[], metavar="MARK")
        which.add_argument("--all", action="store_true", help="all that there are now")
    return parser


def main(arguments: list[str]) -> int:
    """Entry point: exit code 0, 1 when records were not replayed, 2 when nobody has confirmed a purge."""
    options = build_parser().parse_args(arguments)
    settings = Settings.from_env(os.environ)
    store = open_newest_store(settings)
    if options.action == "list":
        return show_list(store, options.limit, options.after, as_json=options.json)
    if options.action == "show":
        return show_record(store, options.mark, options.bytes, raw=options.raw)
    # Taken down before the first is moved: what comes back during a replay is not replayed again.
    marks = [record.mark for record in all_dead_letters(store)] if options.all else find_marks(store, options.marks)
    if options.action == "replay":
        return replay_records(store, open_stream(settings), marks, force=options.force)
    return purge_records(store, marks, confirmed=options.yes)


def show_list(store: DeadLetterStore, limit: int, after: str, *, as_json: bool) -> int:
    """Print what there is."""
    rows = store.list_dead_letters(max(1, limit) + 1, after)
    more, rows = len(rows) > max(1, limit), rows[: max(1, limit)]
    if as_json:
        records = [{**row._asdict(), "arrived_at": time_text(row.arrived_at)} for row in rows]
        sys.stdout.write(json_text({"records": records, "next": rows[-1].mark if more else None}) + "\n")
        return 0
    table = Table("arrived", "shard", "reason", "bytes", box=None, padding=(0, 2, 0, 0))
    table.columns[3].justify = "right"
    table.add_column("mark", overflow="fold")
    for row in rows:
        cells = (time_text(row.arrived_at), row.shard_id, row.reason, f"{row.size:,}", row.mark)
        table.add_row(*(printable(cell) for cell in cells))
    console = report_console()
    console.print(table if rows else "there are no dead letters")
    if more:
        console.print(f"there are more: liveinsight dlq list --after {rows[-1].mark}", soft_wrap=True)
    return 0


def show_record(store: DeadLetterStore, wanted: str, count: int, *, raw: bool) -> int:
    """Print one record, or write its bytes.

    Raises:
        LiveInsightError: there is no such record, or its bytes would go to a terminal.
    """
    if raw and sys.stdout.isatty():
        raise LiveInsightError("the bytes may hold control characters: send them to a file or a pipe")
    mark = find_marks(store, [wanted])[0]
    record = store.load_dead_letter(mark)
    if record is None:
        raise LiveInsightError(f"{printable(mark)} is not there any more, or not whole")
    if raw:
        sys.stdout.buffer.write(record.data)
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _described(record, max(0, count))))
    return 0


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


def replay_records(store: DeadLetterStore, stream: PutStream, marks: list[str], *, force: bool) -> int:
    """Replay, and say how many."""
    console = Console(stderr=True, highlight=False, markup=False)
    result = Replayed()
    shown = track(marks, "replaying", console=console, transient=True, disable=not console.is_terminal)
    try:
        replay(store, stream, shown, result, force=force)
    finally:
        console.print(str(result))
    return 1 if result.undecodable else 0


def purge_records(store: DeadLetterStore, marks: list[str], *, confirmed: bool) -> int:
    """Delete, after asking."""
    count = f"{len(marks)} dead letter{'' if len(marks) == 1 else 's'}"
    if marks and not confirmed:
        if not sys.stdin.isatty():
            sys.stderr.write(f"liveinsight dlq: nobody is here to confirm that {count} may go: add --yes\n")
            return 2
        sys.stdout.write(f"Delete {count} for good? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            sys.stdout.write("nothing deleted\n")
            return 2
    store.delete_dead_letters(marks)
    sys.stdout.write(f"{count} deleted\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
