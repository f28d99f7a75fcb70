"""Importing access logs: which lines become events, which are skipped and why, and that no line is fatal."""

from __future__ import annotations

import gzip
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ingest.delivery.group_commit import GroupCommit
from ingest.importer.access_log import PageRules, page_requests, parse_lines
from ingest.importer.import_log import Importer, Target, _send_all, hide_addresses, known_site, show
from ingest.pipeline.context import Policy
from ingest.pipeline.pipeline import Pipeline
from liveinsight.__main__ import main
from liveinsight.model.errors import SettingsError
from liveinsight.model.events import Event, decode_record
from liveinsight.sites.site import plain_sites
from liveinsight.storage.stream import StartAt
from liveinsight.testing.builders import FakeClock, MemoryStream

PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def line(target: str = "/a", *, method: str = "GET", status: int = 200, agent: str = PERSON, second: int = 3) -> str:
    time = f"17/May/2015:10:05:{second:02d} +0200"
    return f'192.0.2.1 - - [{time}] "{method} {target} HTTP/1.1" {status} 5 "https://www.google.com/" "{agent}"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (line(), ""),
        (line("/a.html?x=1.png"), ""),
        (line(status=304), ""),
        (line("/logo.PNG"), "static file"),
        (line("/feed.xml?page=2"), "static file"),
        (line(status=404), "not successful"),
        (line(status=301), "not successful"),
        (line(method="POST"), "not a GET request"),
        (line("/x.png", method="HEAD", status=404), "not a GET request"),
        ("", "malformed line"),
        ("garbage\n", "malformed line"),
        (line()[:-3], "malformed line"),
        (line().replace("17/May", "17/Brr"), "malformed line"),
        (line(agent=r"with \"quotes\" in it"), ""),
        ('192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /old" 200 - "-" "-"\n', ""),
    ],
)
def test_lines_are_sorted_by_reason(text: str, reason: str) -> None:
    """Each line is a page view or has the strongest reason why it is none."""
    assert parse_lines([text], PageRules())["skip"].tolist() == [reason]


def test_fields_of_a_page_request() -> None:
    """Times are taken with their offset, dashes mean nothing, escapes are undone."""
    (request,) = page_requests(
        parse_lines([line(agent=r"a \"b\" c").replace("https://www.google.com/", "-")], PageRules())
    )
    assert request == (0, "192.0.2.1", 1_431_849_903_000, "/a", "", 'a "b" c')


@given(st.lists(st.text(max_size=60) | st.sampled_from([line(), line("/x.js")]), max_size=8))
def test_no_line_is_fatal(lines: list[str]) -> None:
    """Whatever stands in a log, every line gets a verdict."""
    assert len(parse_lines(lines, PageRules())) == len(lines)


@pytest.fixture
def importer(stream: MemoryStream, clock: FakeClock) -> Importer:
    policy = Policy(max_age_ms=None)
    sites = plain_sites({"default": ZoneInfo("UTC")})
    pipeline = Pipeline(lambda: sites, GroupCommit(stream), lambda *_: b"salt" * 8, policy=policy)
    return Importer(pipeline, PageRules(), Target("default", "https://blog.example"), clock)


def events_on(stream: MemoryStream) -> list[Event]:
    records = [
        record
        for shard in stream.shards()
        for record in stream.read(stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON), 1000).records
    ]
    return [event for record in records for event in decode_record(record.data)]


def test_summary_says_what_was_skipped_and_why(importer: Importer, stream: MemoryStream) -> None:
    """What was sent and what was not adds up to the lines; bad lines are shown without addresses."""
    lines = [
        line(),
        line(second=4),
        line("/x.css"),
        line(agent=BOT),
        line(status=500),
        "192.0.2.1 and 2001:db8::1 are bad\n",
    ]
    importer.send("log", lines)
    summary = importer.summary
    assert (summary.lines, summary.sent) == (6, 2)
    assert dict(summary.skipped) == {"static file": 1, "bot": 1, "not successful": 1, "malformed line": 1}
    assert summary.bad_lines == ["line 6: <address> and <address> are bad"]
    events = events_on(stream)
    assert [(event.page_url, event.source, event.recent) for event in events] == [
        ("https://blog.example/a", "Google", False)
    ] * 2
    assert len({event.event_id for event in events}) == 2


def test_identical_lines_are_events_of_their_own(importer: Importer, stream: MemoryStream) -> None:
    """Two requests in the same second are two lines, and two page views."""
    importer.send("log", [line(), line()])
    assert len({event.event_id for event in events_on(stream)}) == 2


def test_plain_and_packed_files_are_read_alike(importer: Importer, tmp_path: Path, stream: MemoryStream) -> None:
    """A gzip file is known by its content, whatever its name."""
    plain, packed, empty = tmp_path / "a.log", tmp_path / "b.log", tmp_path / "c.log"
    plain.write_text(line() + line(second=9))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    empty.write_bytes(b"")
    _send_all(importer, [str(plain), str(packed), str(empty)], Console(quiet=True), quiet=True)
    assert importer.summary.sent == 4


def test_shown_summary(importer: Importer, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary names the numbers and the days to ask for."""
    importer.send("log", [line(), line("/x.css")])
    show(importer.summary, 1.0, Console(width=200))
    shown = capsys.readouterr().out
    assert "skipped: static file" in shown
    assert "from=2015-05-17&to=2015-05-17" in shown


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("1.2.3.4 x", "<address> x"),
        ("2001:db8::1 x", "<address> x"),
        ("::1 - -", "<address> - -"),
        ("[17/May/2015:10:05:03 +0000]", "[17/May/2015:10:05:03 +0000]"),
        ("fe80::1ff:fe23:4567:890a", "<address>"),
    ],
)
def test_addresses_are_hidden(text: str, hidden: str) -> None:
    """Addresses of both kinds are taken out, times are left."""
    assert hide_addresses(text) == hidden


def test_mistakes_are_found_before_anything_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown site or a missing file is an error that says so."""
    assert main(["import-log", "/does/not/exist"]) == 1
    assert "no such file" in capsys.readouterr().err
    sites = plain_sites({"blog": ZoneInfo("UTC")})
    assert known_site(sites, None).name == "blog"
    with pytest.raises(SettingsError, match="nowhere"):
        known_site(sites, "nowhere")
