"""A day to read: events in `tests/golden/day.jsonl`, what they come to in `tests/golden/expected.md`.

Both are written for people. A change to the expectation is a change of the product, and is reviewed as one: nothing
writes it by itself. The events go through records, shards, the record processor and the API; only the table of
visits is read from the stored states, as the API lists no visits of the past.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.app import create_app
from liveinsight.counting.sessions import Session
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.testing.builders import FakeClock, MemoryStore, MemoryStream, an_event
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

GOLDEN = Path(__file__).parents[2] / "golden"
ZONE = "Europe/Berlin"
SATURDAY, SUNDAY = "2026-10-24", "2026-10-25"
MEASURES = ("visitors", "visits", "bounces", "pageviews", "events", "conversions")

Line = dict[str, Any]
Row = list[str]


def lines_of_the_day() -> list[Line]:
    lines = (GOLDEN / "day.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if "note" not in line]


def names_of(lines: list[Line]) -> dict[str, int]:
    """Numbers of the visitors, in the order in which they appear."""
    return {
        name: number for number, name in enumerate(dict.fromkeys(line["who"] for line in lines if "who" in line), 1)
    }


class Nowhere:
    def checkpoint(self, sequence_number: str) -> None:
        """Nobody goes on from here."""


def play(lines: list[Line], clock: FakeClock) -> MemoryStore:
    """Put the lines on a stream, one record each, and process it shard by shard, parents first."""
    stream, store = MemoryStream(clock, created_at=1), MemoryStore()
    newest = ["shardId-000000000000"]
    names, ids = names_of(lines), dict[str, int]()
    for number, line in enumerate(lines, 1):
        if "reshard" in line:
            newest = list(stream.split(newest[0]))
            continue
        at = datetime.fromisoformat(line["at"])
        event = an_event(
            at=int(at.timestamp() * 1000),
            zone=ZONE,
            visitor=names[line["who"]],
            event_id=ids.setdefault(line.get("id", str(number)), number),
            type=line.get("type", "page_view"),
            page=line["page"],
            source=line.get("source", ""),
            session_id=line.get("session", ""),
            conversion_type=line.get("conversion", ""),
            revenue=line.get("revenue", 0),
            currency=line.get("currency", ""),
        )
        stream.put([OutRecord(partition_key(event.visitor), encode_record([event]))])
    for shard in stream.shards():
        processor = RecordProcessor(store, 1, ProcessorOptions(), clock, sleep=lambda _: None)
        processor.initialize(shard.shard_id, "")
        records = stream.read(stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON), 1000).records
        for record in records:
            processor.process_records([record], Nowhere(), 0)
            clock.advance(seconds=1)
        processor.shutdown_requested(Nowhere())
    return store


def table(title: str, explanation: str, head: Row, rows: list[Row]) -> Iterator[str]:
    """A Markdown table in columns of even width."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    yield from ("", f"## {title}", "", explanation, "")
    for row in (head, ["-" * width for width in widths], *rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def minutes(milliseconds: int) -> str:
    return f"{milliseconds // 60_000}:{milliseconds // 1000 % 60:02d}"


def report(store: MemoryStore, clock: FakeClock, names: dict[str, int]) -> list[str]:
    """What the day came to, as `expected.md` tells it."""
    settings = Settings.from_env({"LIVEINSIGHT_SITES": f"default={ZONE}"})
    client = create_app(settings, store, clock).test_client()

    def ask(question: str, day: str, **parameters: str) -> Any:
        answer = client.get(f"/v1/sites/default/{question}", query_string={"from": day, "to": day, **parameters})
        assert answer.status_code == 200, answer.text
        return answer.get_json()["data"]

    lines = [
        "# What the day comes to",
        "",
        "Events: `day.jsonl`. All times are those of the clock on the wall in Berlin.",
    ]
    lines += table(
        "Totals",
        "Events, page views and conversions are counted where they happened, a visit where it began.",
        ["day", *MEASURES, "duplicates", "mean duration", "revenue (minor units)"],
        [totals_row(day, ask("totals", day)) for day in (SATURDAY, SUNDAY)],
    )
    lines += table(
        "Sunday by local hour",
        "Hours in which nothing happened are left out; there are 25, and 02:00 comes twice.",
        ["hour", "page views", "visits", "bounces", "events", "visitors"],
        hour_rows(ask("timeseries", SUNDAY, interval="hour")),
    )
    for dimension, head in (
        ("page", ["page", "page views", "events", "visitors"]),
        ("event", ["event", "page views", "events", "visitors"]),
        ("conversion_type", ["conversion_type", "conversions", "visitors"]),
        *(
            (name, [name, "visits", "bounces", "page views", "visitors"])
            for name in ("entry_page", "exit_page", "source")
        ),
    ):
        rows = ask("breakdown", SUNDAY, dimension=dimension, limit="100")
        cells = [[row["value"], *(str(row[name.replace(" ", "")]) for name in head[1:])] for row in rows]
        lines += table(f"Sunday by {dimension}", EXPLAINED[dimension], head, sorted(cells))
    lines += table(
        "Visits",
        "Every visit there was, by its start.",
        ["who", "start", "end", "duration", "page views", "events", "bounce", "entry", "exit", "source"],
        visit_rows(store, names),
    )
    return lines


EXPLAINED = {
    "page": "Page views of the page itself.",
    "event": "Events by kind.",
    "conversion_type": "Conversions by kind.",
    "entry_page": "Whole visits, by their first page by time.",
    "exit_page": "Whole visits, by their last page by time.",
    "source": "Whole visits, by the source of their first event. The visitors of (direct) are nine and ova, who was "
    "there until the view with the source arrived: a sketch of visitors forgets nobody.",
}


def totals_row(day: str, totals: Line) -> Row:
    revenue = ", ".join(f"{amount} {currency}" for currency, amount in sorted(totals["revenue"].items()))
    duration = minutes(totals["visit_duration_ms"] or 0)
    return [day, *(str(totals[name]) for name in MEASURES), str(totals["duplicates"]), duration, revenue or "-"]


def hour_rows(points: list[Line]) -> list[Row]:
    assert len(points) == 25
    names = ("pageviews", "visits", "bounces", "events", "visitors")
    return [
        [f"{point['start'][11:16]} {point['start'][-6:]}", *(str(point[name]) for name in names)]
        for point in points
        if any(point[name] for name in names)
    ]


def visit_rows(store: MemoryStore, names: dict[str, int]) -> list[Row]:
    states = store.load_visitors(list(store.visitors))
    who = {number: name for name, number in names.items()}
    visits = [(visit.started_at, who[state.visitor], visit) for state in states.values() for visit in state.sessions]
    return [visit_row(name, visit) for _, name, visit in sorted(visits, key=lambda entry: entry[:2])]


def visit_row(name: str, visit: Session) -> Row:
    local: Callable[[int], str] = lambda at: f"{datetime.fromtimestamp(at / 1000, ZoneInfo(ZONE)):%a %H:%M:%S %z}"  # noqa: E731
    counted = [str(visit.measures.get(measure, 0)) for measure in ("pageviews", "events")]
    pages = [visit.entry_page or "-", visit.exit_page or "-"]
    return [
        f"{name} ({visit.id})" if visit.given_id else name,
        local(visit.started_at),
        local(visit.last_at),
        minutes(visit.duration_ms),
        *counted,
        "yes" if visit.bounced else "no",
        *pages,
        visit.attributes["source"],
    ]


def test_golden_day() -> None:
    """The day's events come to what the expectation says, line by line."""
    lines = lines_of_the_day()
    clock = FakeClock(int(datetime.fromisoformat("2026-10-26T12:00:00+01:00").timestamp() * 1000))
    came_to = report(play(lines, clock), clock, names_of(lines))
    expected = (GOLDEN / "expected.md").read_text(encoding="utf-8").splitlines()
    difference = "\n".join(difflib.unified_diff(expected, came_to, "expected.md", "as it is now", lineterm=""))
    if difference:
        pytest.fail(f"the day comes to something else:\n{difference}", pytrace=False)


def test_every_line_says_what_it_is_for() -> None:
    """No event of the day is without a word on why it is there."""
    assert [line for line in lines_of_the_day() if not line.get("case")] == []
