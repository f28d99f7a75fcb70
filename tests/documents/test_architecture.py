"""ARCHITECTURE.md against the code: the path of an event, the rooms, and the size of modules and functions."""

from __future__ import annotations

import ast
import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import api.app
import ingest.app
from liveinsight.model.clock import system_clock
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory
from liveinsight.sites.repository import load_sites
from liveinsight.storage.store import Store
from liveinsight.storage.stream import StartAt, Stream
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.documents.pipeline import FIREFOX, Checkpoints

ROOT = Path(__file__).parents[2]
PACKAGES = ("liveinsight", "ingest", "processor", "api")
MODULES = sorted(path for folder in (*PACKAGES, "bench") for path in (ROOT / folder).rglob("*.py"))
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50
MAX_ROOM_MODULES = 12


def _section(heading: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]


class Calls:
    """The first call of each function of the product, in order, of all threads that start meanwhile."""

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}

    def __call__(self, frame: FrameType, what: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if what == "call" and module.partition(".")[0] in PACKAGES:
            self.seen.setdefault(f"{module}:{frame.f_code.co_qualname}")

    def __enter__(self) -> Calls:
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


def test_a_page_view_takes_the_path_that_the_document_lists(
    aws: Settings, open_aws: Callable[[Settings], tuple[Stream, Store]]
) -> None:
    """From POST /collect to a counter in DynamoDB, and to an answer: each named function is called, in this order."""
    hops = re.findall(r"^\| \d+ \| `([\w.]+:[\w.]+)`", _section("The path of an event"), re.MULTILINE)
    stream, store = open_aws(aws)
    sites = SiteDirectory(lambda: load_sites(store), system_clock)
    collector = ingest.app.create_app(
        aws,
        ingest.app.Backend(stream, store, sites, lambda: store, system_clock),
        tracker_file=ROOT / "tracker" / "liveinsight.js",
    ).test_client()
    reader = api.app.create_app(aws, store, system_clock, sites=sites, dashboard_dir=ROOT / "dashboard").test_client()
    shards = [
        (shard, RecordProcessor(store, stream.incarnation(), ProcessorOptions(), system_clock))
        for shard in stream.shards()
    ]
    for shard, processor in shards:
        processor.initialize(shard.shard_id, "")
    view = {"event_type": "page_view", "page_url": "https://example.com/", "user_id": "u"}
    headers = {"Content-Type": "text/plain", "User-Agent": FIREFOX}
    with Calls() as calls:
        assert collector.post("/collect", data=json.dumps(view), headers=headers).status_code == 202
        for shard, processor in shards:
            start = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
            if records := stream.read(start, 1000).records:
                processor.process_records(records, Checkpoints(), 0)
                processor.shutdown_requested(Checkpoints())
        answer = reader.get("/v1/sites/default/totals?period=today").get_json()
    assert answer["data"]["pageviews"] == 1
    assert len(hops) > 20
    assert [hop for hop in calls.seen if hop in hops] == hops


def test_every_room_is_in_the_map() -> None:
    """By name, in its package's row; each says in its `__init__.py` what comes in and what goes out."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", _section("Rooms"), re.MULTILINE))
    assert set(rows) == set(PACKAGES)
    for package, described in rows.items():
        rooms = {
            path.parent.name: ast.get_docstring(ast.parse(path.read_text())) or ""
            for path in (ROOT / package).glob("*/__init__.py")
        }
        assert sorted(re.findall(r"`(\w+)`", described)) == sorted(rooms)
        assert [name for name, text in rooms.items() if not ("In:" in text and "Out:" in text)] == []
        crowded = [name for name in rooms if len(list((ROOT / package / name).glob("*.py"))) - 1 > MAX_ROOM_MODULES]
        assert crowded == []


def test_modules_and_functions_stay_short() -> None:
    """A longer function needs a comment that says why, in the line before it: `# Long: ...`."""
    long_modules, long_functions = [], []
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_MODULE_LINES:
            long_modules.append(path.relative_to(ROOT))
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES:
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                if not lines[first - 2].strip().startswith("# Long:"):
                    long_functions.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert long_modules == []
    assert long_functions == []
