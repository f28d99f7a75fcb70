"""How commands print reports: tables on standard output, times and durations in words."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200
"""Columns of a table in a file or a pipe: an identifier must stay on its line."""


def report_console() -> Console:
    """Standard output: as wide as the terminal, or `PIPE_WIDTH` columns."""
    from rich.console import Console  # noqa: PLC0415 - commands without a report start sooner

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def time_text(epoch_ms: int) -> str:
    """A UTC time to the second, such as `2026-09-22 12:00:00Z`."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(epoch_ms // 1000))


def duration_text(milliseconds: int) -> str:
    """A duration in its largest whole unit, such as `3 min`."""
    seconds = max(0, milliseconds) / 1000
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
