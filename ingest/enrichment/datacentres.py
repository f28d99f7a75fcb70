"""Address ranges of data centres: their visitors are bots.

In: an operator's file with one range a line: ``192.0.2.0/24``, ``2001:db8::/32``, a single address, or ``first,last``
(further columns are ignored); ``#`` begins a comment. Out: whether an address is in any of the ranges, by binary
search.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path

from ingest.enrichment.addresses import address_number
from liveinsight.model.errors import SettingsError

Range = tuple[int, int]
"""First and last address, as numbers."""

WIDEST = {4: 4, 6: 8}
"""Shorter prefixes are rejected as typing errors: ``0.0.0.0/0`` would make every visitor a bot."""


class DataCentres:
    """A table of ranges. Immutable, so thread safe."""

    def __init__(self, ranges: Iterable[tuple[int, Range]] = ()) -> None:
        merged: dict[int, tuple[list[int], list[int]]] = {4: ([], []), 6: ([], [])}
        for version, (first, last) in sorted(ranges):
            firsts, lasts = merged[version]
            if lasts and first <= lasts[-1] + 1:
                lasts[-1] = max(last, lasts[-1])
            else:
                firsts.append(first)
                lasts.append(last)
        self._ranges = merged

    def __len__(self) -> int:
        return sum(len(firsts) for firsts, _ in self._ranges.values())

    def holds(self, address: str) -> bool:
        """Whether an address is in a data centre; false for an invalid one."""
        try:
            version, number = address_number(address)
        except ValueError:
            return False
        firsts, lasts = self._ranges[version]
        found = bisect_right(firsts, number) - 1
        return found >= 0 and number <= lasts[found]


def parse_ranges(lines: Iterable[str]) -> DataCentres:
    """The table of the lines of a file.

    Raises:
        ValueError: names the first invalid line.
    """
    ranges = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                ranges.append(_range(text))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return DataCentres(ranges)


def load_data_centres(path: str) -> DataCentres | None:
    """The table of a file; None without one.

    Raises:
        SettingsError: the file cannot be read, or a line is invalid.
    """
    if not path:
        return None
    try:
        return parse_ranges(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise SettingsError(f"LIVEINSIGHT_DATACENTRES={path!r}: {error}") from error


def _range(text: str) -> tuple[int, Range]:
    first, *more = (part.strip().strip('"') for part in text.split(","))
    if more and "/" not in first and more[0][:1].isdigit() and ("." in more[0] or ":" in more[0]):
        (version, low), (last_version, high) = address_number(first), address_number(more[0])
        if version != last_version or low > high:
            raise ValueError("the last address is before the first")
        return version, (low, high)
    network = ip_network(first, strict=False)
    if network.prefixlen < WIDEST[network.version]:
        raise ValueError(f"/{network.prefixlen} is too wide to be a data centre")
    return network.version, (int(network.network_address), int(network.broadcast_address))
