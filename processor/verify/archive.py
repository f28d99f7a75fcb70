"""Records of a stream in a file: JSON lines, packed with gzip where the name ends in ``.gz``.

    {"format": "liveinsight-records", "version": 1, "since": null, "until": 1790000000000}
    {"incarnation": 1790000000000, "shard": "shardId-...", "sequence": "49...", "key": "b001", "at": ..., "data": "..."}
    ...
    {"records": 1}

`since` and `until` say for which arrival times the file is complete (epoch ms; null: since the stream exists).
`data` is base64. The last line proves that the file is not truncated.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, cast

from liveinsight.model.errors import LiveInsightError
from liveinsight.storage.stream import Record
from processor.verify.stream_reader import Coverage, KeptRecord

FORMAT = "liveinsight-records"
VERSION = 1


def save(path: Path, records: Iterable[KeptRecord], coverage: Coverage) -> None:
    """Write a file atomically."""
    partial = path.with_name(f".{path.name}.partial")
    count = 0
    with _opened(partial, "w", packed=path.suffix == ".gz") as file:
        header = {"format": FORMAT, "version": VERSION, "since": coverage.since, "until": coverage.until}
        file.write(json.dumps(header) + "\n")
        for count, kept in enumerate(records, 1):  # noqa: B007 - the last one is the number of records
            file.write(json.dumps(_line(kept)) + "\n")
        file.write(json.dumps({"records": count}) + "\n")
    partial.replace(path)


def load(paths: Sequence[Path]) -> tuple[list[KeptRecord], Coverage]:
    """The records of one or more files in the order of the stream, each once, and their coverage.

    Raises:
        LiveInsightError: a file cannot be read, or there is a gap between two files.
    """
    records: dict[tuple[int, str, int], KeptRecord] = {}
    covered: list[Coverage] = []
    for path in paths:
        try:
            covered.append(_load(path, records))
        except (OSError, EOFError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise LiveInsightError(f"{path} is not a readable archive: {error!r}") from error
    return [records[place] for place in sorted(records)], joined(covered)


def joined(covered: Sequence[Coverage]) -> Coverage:
    """The coverage of several files together.

    Raises:
        LiveInsightError: there is a gap between them.
    """
    whole, *others = sorted(covered, key=lambda coverage: (coverage.since or 0, coverage.until))
    for coverage in others:
        if (coverage.since or 0) > whole.until:
            raise LiveInsightError("there is a gap between the archives: save them more often than records expire")
        whole = Coverage(whole.since, max(whole.until, coverage.until))
    return whole


def _load(path: Path, records: dict[tuple[int, str, int], KeptRecord]) -> Coverage:
    with path.open("rb") as start:
        packed = start.read(2) == b"\x1f\x8b"
    with _opened(path, "r", packed=packed) as file:
        header = json.loads(file.readline())
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            raise ValueError(f"the header is {header}")
        for count, text in enumerate(file):
            line = json.loads(text)
            if "records" in line:
                if line["records"] != count:
                    raise ValueError(f"{line['records']} records were saved, {count} are there")
                if file.read(1):  # Also has gzip check its sums.
                    raise ValueError("there is data after its end")
                return Coverage(header["since"], header["until"])
            kept = _kept(line)
            records[kept.incarnation, kept.shard_id, int(kept.record.sequence_number)] = kept
    raise ValueError("the end is missing")


def _line(kept: KeptRecord) -> dict[str, Any]:
    record = kept.record
    return {
        "incarnation": kept.incarnation,
        "shard": kept.shard_id,
        "sequence": record.sequence_number,
        "key": record.partition_key,
        "at": record.arrived_at,
        "data": base64.b64encode(record.data).decode(),
    }


def _kept(line: dict[str, Any]) -> KeptRecord:
    data = base64.b64decode(line["data"], validate=True)
    record = Record(line["sequence"], line["key"], data, line["at"])
    return KeptRecord(line["incarnation"], line["shard"], record)


def _opened(path: Path, mode: str, *, packed: bool) -> IO[str]:
    if packed:
        return cast("IO[str]", gzip.open(path, f"{mode}t", encoding="ascii"))
    return cast("IO[str]", path.open(mode, encoding="ascii"))
