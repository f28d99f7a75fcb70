"""`liveinsight verify`: counts the stream again with the reference implementation, and compares the stored counters.

    read the records -> wait for the worker's watermarks -> read the counters -> read the records that arrived meanwhile
                     -> count again -> leave out unknown and unsettled counters -> compare

Compared are only counters whose events are all among the records and all counted by the worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import track

from liveinsight.copying.state import copied_at
from liveinsight.counting.counters import CounterItem, merge_items
from liveinsight.counting.rollups import DIMENSIONS
from liveinsight.model.buckets import MINUTE_MS, quarters_of_day
from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.model.events import DEFAULT_GAP_MINUTES
from liveinsight.runtime.command_line import DAY, ListCommand, Number, json_option
from liveinsight.settings import Settings
from liveinsight.sites.repository import load_sites
from liveinsight.storage.store import ReadStore, Watermark
from liveinsight.storage.stream import StartAt
from liveinsight.wiring import open_newest_store, open_store, open_stream
from processor.verify import archive
from processor.verify.comparison import (
    Comparison,
    Key,
    Stored,
    Window,
    compare,
    complete_from,
    days_to_read,
)
from processor.verify.reference_count import ReferenceCount, RowKey, TotalsKey, count_events
from processor.verify.report import VerifyReport, show_json, show_text
from processor.verify.settled import Decoded, WaitLimits, is_counted, unsettled_keys, wait_for_watermarks
from processor.verify.stream_reader import Coverage, KeptRecord, StreamReader

LAG_MS = 3 * MINUTE_MS
"""A worker that is further behind is reported as lagging."""
SECOND_LOOK_SECONDS = 1.0
"""Reads are eventually consistent: counters that differ are read again after a pause."""
_path = click.Path(path_type=Path)


@dataclass(frozen=True)
class Gathered:
    """The records, and how much of the stream they cover."""

    records: list[KeptRecord]
    coverage: Coverage
    more: Callable[[], Iterable[KeptRecord]] = lambda: ()
    """Reads the records that have arrived since."""
    note: str = ""


def read_stored(store: ReadStore, days: Iterable[tuple[str, date]], window: Window) -> Stored:
    """The stored counters of local days of sites."""
    parts: dict[Key, list[CounterItem]] = {}
    stored = Stored()
    for site, day in days:
        totals = store.read_totals(site, *quarters_of_day(day, window.zone(site)))
        stored.items += totals.items_read
        for quarter, item in totals.rows:
            parts.setdefault(TotalsKey(site, quarter), []).append(item)
        number = day.year * 10_000 + day.month * 100 + day.day
        for dimension in DIMENSIONS:
            rows = store.read_dimension(site, number, dimension.name)
            stored.items += rows.items_read
            for value, item in rows.rows:
                parts.setdefault(RowKey(site, number, dimension.name, value), []).append(item)
    stored.counters = {key: merge_items(items) for key, items in parts.items()}
    return stored


def verify(
    gathered: Gathered,
    store: ReadStore,
    settings: Settings,
    days: tuple[date, date] | None,
    clock: Clock,
    *,
    zones: Mapping[str, ZoneInfo],
    limits: WaitLimits,
    console: Console,
    sleep: Callable[[float], object] = time.sleep,
) -> VerifyReport:
    """Count the records again, read the stored counters, and compare."""
    last = {(kept.incarnation, kept.shard_id): kept for kept in gathered.records}

    def all_counted(rows: list[Watermark]) -> bool:
        known = {mark.shard_id: mark for mark in rows}
        return all(is_counted(kept, known) for kept in last.values())

    with console.status("waiting until the worker has counted what is on the stream"):
        rows = wait_for_watermarks(lambda: store.read_watermarks().rows, all_counted, limits, sleep)
    watermarks = {mark.shard_id: mark for mark in rows}
    decoded = Decoded()
    for kept in gathered.records:
        decoded.add(kept, counted=is_counted(kept, watermarks))
    gap_ms = max((event.gap_minutes for event in decoded.events), default=DEFAULT_GAP_MINUTES) * MINUTE_MS
    window = Window(zones, days, complete_from(gathered.coverage, gap_ms))
    to_read = days_to_read(window, count_events(decoded.events), clock())
    behind = len(decoded.unsettled) if decoded.unsettled and clock() - decoded.unsettled_since > LAG_MS else 0
    for look in range(2):
        sleep(look * SECOND_LOOK_SECONDS)
        shown = track(to_read, "reading counters", console=console, transient=True, disable=not console.is_terminal)
        stored = read_stored(store, shown, window)
        for kept in gathered.more():
            decoded.add(kept, counted=False)
        recounted = count_events(decoded.events)
        comparison = compare(stored, recounted, window, unsettled_keys(recounted, decoded.unsettled))
        if not comparison.differences:
            break
    return VerifyReport(
        comparison=comparison,
        records=len(gathered.records),
        events=recounted.events,
        items_read=stored.items,
        coverage=gathered.coverage,
        complete_from=window.complete_from,
        problem=_problem(comparison, window, behind, decoded.unsettled_since),
        notes=[*filter(None, [gathered.note]), *_notes(decoded, recounted, comparison, settings)],
    )


def _problem(comparison: Comparison, window: Window, behind: int, since: int) -> str:
    """Why no verdict is possible; "" when one is."""
    if window.begins_unknown:
        return "the stream no longer holds all records of these days: use --archive, or a later --from"
    if behind:
        moment = datetime.fromtimestamp(since / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
        return f"the worker lags: it has not counted {behind:,} events that arrived since {moment}"
    if window.days and comparison.unsettled:
        return f"{comparison.unsettled:,} counters of these days are still being written: try again, or name other days"
    if not comparison.compared:
        return "nothing to compare: no counter is settled and covered completely by the records"
    return ""


def _notes(decoded: Decoded, recounted: ReferenceCount, comparison: Comparison, settings: Settings) -> Iterator[str]:
    if decoded.undecodable:
        yield f"{decoded.undecodable:,} records cannot be decoded and are left out: see `liveinsight dlq list`"
    if comparison.unknown:
        yield f"{comparison.unknown:,} counters left out: some of their records are no longer available"
    if comparison.unsettled:
        yield f"{comparison.unsettled:,} counters left out: events for them are still arriving"
    if recounted.cut_by_arrival:
        yield (
            f"{recounted.cut_by_arrival:,} visitors have late events between two visits, which the worker does not "
            "merge (a known limit): counted as it does"
        )
    if recounted.forgotten_ids:
        yield (
            f"{recounted.forgotten_ids:,} events repeat an id from more than 64 events before, which the worker counts "
            "again (a known limit): counted as it does"
        )
    if comparison.not_recounted:
        yield f"not recounted: {', '.join(sorted(comparison.not_recounted))}"
    if settings.start_at is StartAt.LATEST:
        yield "LIVEINSIGHT_START_AT is LATEST: the worker does not count records from before its first start"


@click.command(cls=ListCommand)
@click.option("--from", "first", type=DAY, metavar="YYYY-MM-DD", help="first day")
@click.option("--to", "last", type=DAY, metavar="YYYY-MM-DD", help="last day, included")
@click.option(
    "--archive", "archives", multiple=True, type=_path, metavar="FILE...", help="count the records in these files"
)
@click.option("--save", type=_path, metavar="FILE", help="also save the records of the stream in a file")
@click.option(
    "--wait", type=Number(0), metavar="SECONDS", help="how long to wait for a worker (default: until its next flush)"
)
@json_option
def command(
    first: date | None,
    last: date | None,
    archives: tuple[Path, ...],
    save: Path | None,
    wait: float | None,
    *,
    as_json: bool,
) -> int:
    """Read every record that the stream still holds, count its events again with a simple reference implementation,
    and print every stored counter that differs.

    Days are days in the time zone of the site. Live minutes, sessions and timelines are not compared; visitors are,
    within the error of their sketches. The command needs memory for all events.

    Exit code 0: no difference. 1: differences. 2: no verdict is possible; the message says why.

    \b
    Examples:
      liveinsight verify --from 2026-05-01 --to 2026-05-03
      liveinsight verify --save records.gz; liveinsight verify --archive records.gz older.gz
    """
    days = (first, last) if first and last else None
    if (first or last) and not (days and days[0] <= days[1]):
        raise click.UsageError("give both --from and --to, in this order")
    if save and archives:
        raise click.UsageError("--save saves the records of the stream: it cannot be combined with --archive")
    console = Console(stderr=True, highlight=False, markup=False)
    try:
        settings = Settings.from_env(os.environ)
        gathered = _from_archive(archives) if archives else _from_stream(settings, console)
        if save:
            archive.save(save, gathered.records, gathered.coverage)
        store = open_newest_store(settings)
        zones = load_sites(open_store(settings)).zones
        limits = WaitLimits.with_cadence(settings)
        if wait is not None:
            limits = limits._replace(longest=wait)
        report = verify(gathered, store, settings, days, system_clock, zones=zones, limits=limits, console=console)
    except (LiveInsightError, OSError) as error:
        # Exit code 1 is for differences.
        click.echo(f"liveinsight verify: {error}", err=True)
        return 2
    (show_json if as_json else show_text)(report)
    return report.exit_code


def _from_archive(paths: Sequence[Path]) -> Gathered:
    records, coverage = archive.load(list(paths))
    moment = datetime.fromtimestamp(coverage.until / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return Gathered(
        records, coverage, note=f"what arrived after {moment} is not in the archive: it shows as differences"
    )


def _from_stream(settings: Settings, console: Console) -> Gathered:
    reader = StreamReader(open_stream(settings), system_clock)
    records: list[KeptRecord] = []
    with console.status("reading the stream") as status:
        for kept in reader.read():
            records.append(kept)
            if len(records) % 1_000 == 0:
                moment = datetime.fromtimestamp(kept.record.arrived_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
                status.update(f"reading the stream: {len(records):,} records, {kept.shard_id} up to {moment}")
    return Gathered(records, reader.coverage.beyond(copied_at(open_store(settings))), reader.read)
