"""Prints the outcome of `liveinsight rebuild diff`, as a table or as JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.table import Table

from liveinsight.runtime.report_text import report_console
from liveinsight.runtime.terminal_text import json_text, printable
from processor.rebuild.diff import GenerationDiff
from processor.verify.comparison import Difference
from processor.verify.reference_count import RowKey

ROWS_SHOWN = 100


@dataclass(frozen=True)
class DiffReport:
    """The differences, and what could not be compared."""

    generation: int
    found: GenerationDiff
    notes: list[str]

    @property
    def exit_code(self) -> int:
        """0: no difference; 1: differences; 2: nothing could be compared."""
        if self.found.differences:
            return 1
        return 0 if self.found.compared else 2

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        found, compared = len(self.found.differences), f"{self.found.compared:,} counters compared"
        if found:
            return f"{found:,} difference{'s' if found > 1 else ''}; {compared}"
        if not self.found.compared:
            return "nothing to compare: no bucket or day has ended and is completely replayed"
        return f"no difference; {compared}"


def show_text(report: DiffReport) -> None:
    """Print differences and the verdict to standard output."""
    console = report_console()
    differences = report.found.differences
    if differences:
        table = Table("site", "bucket or day", "dimension", "value", "measure", box=None, padding=(0, 2, 0, 0))
        for heading in ("shown now", f"generation {report.generation}", "change"):
            table.add_column(heading, justify="right")
        for difference in differences[:ROWS_SHOWN]:
            numbers = (f"{difference.stored:,}", f"{difference.recounted:,}", f"{_change(difference):+,}")
            table.add_row(*(printable(cell) for cell in (*_place(difference), *numbers)))
        console.print(table)
        if len(differences) > ROWS_SHOWN:
            console.print(f"and {len(differences) - ROWS_SHOWN:,} smaller ones: --json shows all")
        console.print()
    for note in report.notes:
        console.print(printable(note), soft_wrap=True)
    console.print(report.verdict, soft_wrap=True)


def show_json(report: DiffReport) -> None:
    """Print everything as one JSON object to standard output."""
    found = report.found
    told = {
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "generation": report.generation,
        "notes": report.notes,
        "items_read": found.items_read,
        "compared": found.compared,
        "unsettled": found.unsettled,
        "differences": [
            dict(zip(("site", "place", "dimension", "value", "measure"), _place(difference), strict=True))
            | {"old": difference.stored, "new": difference.recounted, "change": _change(difference)}
            for difference in found.differences
        ],
    }
    sys.stdout.write(json_text(told) + "\n")


def _place(difference: Difference) -> tuple[str, str, str, str, str]:
    key = difference.key
    dimension, value = (key.dimension, key.value) if isinstance(key, RowKey) else ("totals", "")
    return key.site, difference.place, dimension, value, difference.measure


def _change(difference: Difference) -> int:
    return difference.recounted - difference.stored
