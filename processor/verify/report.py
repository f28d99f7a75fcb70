"""Prints the outcome of `liveinsight verify`, as a table or as JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.table import Table

from liveinsight.runtime.report_text import report_console, time_text
from liveinsight.runtime.terminal_text import json_text, printable
from processor.verify.comparison import Comparison, Difference
from processor.verify.reference_count import RowKey
from processor.verify.stream_reader import Coverage


@dataclass(frozen=True)
class VerifyReport:
    """The differences, and how certain they are."""

    comparison: Comparison
    records: int
    events: int
    items_read: int
    coverage: Coverage
    complete_from: int | None
    problem: str
    notes: list[str]

    @property
    def exit_code(self) -> int:
        """0: no difference; 1: differences; 2: no verdict."""
        if self.comparison.differences:
            return 1
        return 2 if self.problem else 0

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        found = len(self.comparison.differences)
        compared = f"{self.comparison.compared:,} counters compared with {self.events:,} events"
        if found:
            return f"{found:,} difference{'s' if found > 1 else ''}; {compared}"
        return f"no difference, but: {self.problem}; {compared}" if self.problem else f"no difference; {compared}"


def show_text(report: VerifyReport) -> None:
    """Print differences and the verdict to standard output."""
    console = report_console()
    if report.comparison.differences:
        table = Table("site", "bucket or day", "dimension", "value", "measure", box=None, padding=(0, 2, 0, 0))
        table.add_column("stored", justify="right")
        table.add_column("recounted", justify="right")
        for difference in report.comparison.differences:
            table.add_row(*(printable(cell) for cell in _cells(difference)))
        console.print(table)
        console.print()
    known = "all of it" if report.complete_from is None else f"known from {time_text(report.complete_from)} on"
    console.print(f"{report.records:,} records that arrived up to {time_text(report.coverage.until)}, {known}")
    for note in report.notes:
        console.print(printable(note), soft_wrap=True)
    if report.problem and report.comparison.differences:
        console.print(printable(report.problem), soft_wrap=True)
    console.print(printable(report.verdict), soft_wrap=True)


def show_json(report: VerifyReport) -> None:
    """Print everything as one JSON object to standard output."""
    comparison = report.comparison
    told = {
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "problem": report.problem,
        "notes": report.notes,
        "records": report.records,
        "events": report.events,
        "items_read": report.items_read,
        "arrived_since": None if report.coverage.since is None else _iso(report.coverage.since),
        "arrived_until": _iso(report.coverage.until),
        "known_from": None if report.complete_from is None else _iso(report.complete_from),
        "counters": {
            "compared": comparison.compared,
            "not_known": comparison.unknown,
            "not_settled": comparison.unsettled,
        },
        "differences": [
            dict(zip(("site", "place", "dimension", "value", "measure"), _cells(difference), strict=False))
            | {"stored": difference.stored, "recounted": difference.recounted}
            for difference in comparison.differences
        ],
    }
    sys.stdout.write(json_text(told) + "\n")


def _cells(difference: Difference) -> tuple[str, ...]:
    key = difference.key
    dimension, value = (key.dimension, key.value) if isinstance(key, RowKey) else ("totals", "")
    numbers = (f"{difference.stored:,}", f"{difference.recounted:,}")
    return (key.site, difference.place, dimension, value, difference.measure, *numbers)


def _iso(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
