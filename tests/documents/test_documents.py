"""The documents: links lead somewhere, paths exist, pictures are small, and the site builds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from liveinsight.counting.rollups import BY_NAME
from liveinsight.runtime.metrics import ApiMetrics, IngestMetrics, WorkerMetrics

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/*/*.md", "bench/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = (
    "api",
    "bench",
    "dashboard",
    "deploy",
    "docs",
    "ingest",
    "liveinsight",
    "localstack",
    "processor",
    "tests",
    "tracker",
)
LINK = re.compile(r"(?:\]\(|src=\"|srcset=\")(?!\w+:|//)([^)\s\"]+)[)\"]")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)")
NOT_IN_GIT = ("localstack/node_modules", "localstack/lib", "dashboard/node_modules", "docs/site")
MAX_LINES = {"README.md": 120, "ARCHITECTURE.md": 200, "CONTRIBUTING.md": 200}


def _text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _prose(document: str) -> str:
    """Without blocks of code: their quotes and links are examples."""
    return re.sub(r"^( *)```.*?^\1```", "", _text(document), flags=re.MULTILINE | re.DOTALL)


def _anchors(document: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_lead_to_files_and_headings(document: str) -> None:
    """A link to a document with an anchor needs that heading there, too."""
    for link in LINK.findall(_prose(document)):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document} links to {link}"
        if anchor:
            assert anchor in _anchors(target.resolve().relative_to(ROOT).as_posix()), f"{document} links to {link}"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_paths_in_the_text_exist(document: str) -> None:
    """Any `folder/file` of the repository that a document names."""
    missing = [path for path in PATH.findall(_prose(document)) if not (ROOT / path).exists()]
    assert [path for path in missing if not path.startswith(NOT_IN_GIT)] == []


@pytest.mark.parametrize("document", MAX_LINES)
def test_documents_stay_short(document: str) -> None:
    """What everybody reads first has a limit."""
    assert len(_text(document).splitlines()) < MAX_LINES[document]


def test_pictures_are_small() -> None:
    """Every picture is below 250 KB."""
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 250_000] == []


def test_the_site_builds_without_a_warning() -> None:
    """`make docs` fails on a link, an anchor or a page that is missing."""
    built = subprocess.run(
        [sys.executable, "docs/build.py"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.name for path in (ROOT / "build" / "site").glob("*.html")}
    assert {"index.html", "architecture.html", "settings.html", "api.html"} <= pages
    api = (ROOT / "build/site/api.html").read_text()
    assert [name for name in BY_NAME if f"<td><code>{name}</code></td>" not in api] == []
    loads = re.findall(
        r"<(?:script|link|img)[^>]*(?:src|href)=\"?https?:", (ROOT / "build/site/index.html").read_text()
    )
    assert loads == [], "the site loads something from elsewhere"


def test_every_metric_is_listed() -> None:
    """docs/metrics.md has every metric with its type, labels and meaning."""
    page = _text("docs/metrics.md")
    for service in (IngestMetrics, WorkerMetrics, ApiMetrics):
        for _, metric in service.declared():
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            assert f"| `{metric.sample}` | {metric.kind} | {labels} | {metric.help} |" in page
