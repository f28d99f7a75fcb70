"""The worked examples of CONTRIBUTING.md do what they say, each on a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("api", "dashboard", "docs", "ingest", "liveinsight", "processor", "tracker")
PIPELINE = Path(__file__).with_name("pipeline.py")
BLOCK = re.compile(r"^```\w+\n(?:#|//) (\S+), (?:after '([^'\n]+)'|at the end)\n(.*?)^```", re.MULTILINE | re.DOTALL)
START = f"""
import sys
from pathlib import Path
sys.path.insert(1, {str(PIPELINE.parent)!r})
import liveinsight
from pipeline import Pipeline
ROOT = Path.cwd()
assert Path(liveinsight.__file__).is_relative_to(ROOT), "the copy is not what runs"
"""


def example(heading: str) -> str:
    """The section of CONTRIBUTING.md below a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {heading}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    return str(section)


def edit(folder: Path, section: str) -> set[str]:
    """Apply a section's blocks to the copy; the files that they touch."""
    blocks = BLOCK.findall(section)
    assert blocks, "the section has no block that names a file"
    for path, marker, added in blocks:
        text = (folder / path).read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        if marker:
            (at,) = [number for number, line in enumerate(lines) if marker in line]
            lines.insert(at + 1, added)
        else:
            lines.append(added)
        (folder / path).write_text("".join(lines), encoding="utf-8")
    return {path for path, _, _ in blocks}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    return tmp_path


def run(folder: Path, script: str) -> None:
    """Run a script in the copy: its last assertion is the proof."""
    done = subprocess.run(
        [sys.executable, "-c", START + script],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


TITLES = """
pipeline = Pipeline(ROOT)
pipeline.collect(title="Winter menu")
pipeline.count()
rows = pipeline.ask("/v1/sites/default/breakdown?dimension=title")["data"]
assert [(row["value"], row["pageviews"], row["visitors"]) for row in rows] == [("Winter menu", 1, 1)], rows
parameters = pipeline.ask("/v1/openapi.json")["paths"]["/v1/sites/{site}/breakdown"]["get"]["parameters"]
assert "title" in next(p for p in parameters if p["name"] == "dimension")["schema"]["enum"]
"""


def test_a_rollup_is_one_entry(copy: Path) -> None:
    """One file is touched; the dimension is counted, answered and documented."""
    assert len(edit(copy, example("Add a rollup"))) == 1
    run(copy, TITLES)


@pytest.mark.browser
def test_a_dimension_of_the_dashboard_is_one_entry(copy: Path) -> None:
    """One file is touched; Chromium shows the tab with its row."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs Chromium")
    edit(copy, example("Add a rollup"))
    assert len(edit(copy, example("Add a dimension to the dashboard"))) == 1
    run(
        copy,
        TITLES
        + f"""
import threading
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, pipeline.api, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path={chromium!r}, args=["--no-sandbox"])
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{{server.server_port}}/?pages=title&period=today")
    panel = page.get_by_test_id("pages")
    panel.get_by_role("tab", name="Titles", selected=True).wait_for(timeout=10_000)
    assert panel.get_by_role("tab").count() == 4
""",
    )


def test_a_source_is_one_entry(copy: Path) -> None:
    """A visit from one of its hosts is counted under its name, in the channel of its kind."""
    assert len(edit(copy, example("Add a source"))) == 1
    run(
        copy,
        """
pipeline = Pipeline(ROOT)
pipeline.collect(referrer="https://www.marginalia-search.com/")
pipeline.count()
for dimension, value in (("source", "Marginalia"), ("channel", "Organic Search")):
    rows = pipeline.ask(f"/v1/sites/default/breakdown?dimension={dimension}")["data"]
    assert [row["value"] for row in rows] == [value], rows
""",
    )


def test_a_setting_is_one_field_and_its_line_on_the_page(copy: Path) -> None:
    """It is read from its variable, a bad value is refused with its name, and the page says what the code says."""
    edit(copy, example("Add a setting"))
    run(
        copy,
        """
from liveinsight.model.errors import SettingsError
from liveinsight.settings import SETTINGS, Settings
values = [Settings.from_env(environ).api_rows for environ in ({}, {"LIVEINSIGHT_API_ROWS": "50"})]
assert values == [1000, 50], values
try:
    Settings.from_env({"LIVEINSIGHT_API_ROWS": "0"})
    raise AssertionError("0 was taken")
except SettingsError as error:
    assert str(error).startswith("LIVEINSIGHT_API_ROWS='0': "), error
rows = [f"| `{one.variable}` | `{one.default}` | {one.meaning} |" for one in SETTINGS]
page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
assert next(row for row in rows if "API_ROWS" in row) in page.splitlines()
""",
    )


def test_an_endpoint_is_a_function_and_an_entry(copy: Path) -> None:
    """It answers, and the OpenAPI document has it."""
    edit(copy, example("Add an endpoint"))
    run(
        copy,
        """
pipeline = Pipeline(ROOT)
for path in ("/a", "/b", "/b"):
    pipeline.collect(page_url="https://example.com" + path)
pipeline.count()
(row,) = pipeline.ask("/v1/sites/default/top-page")["data"]
assert (row["value"], row["pageviews"]) == ("/b", 2), row
assert "/v1/sites/{site}/top-page" in pipeline.ask("/v1/openapi.json")["paths"]
""",
    )
