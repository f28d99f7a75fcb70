"""Builds the documentation as a site: `make docs`.

In: the Markdown files of `docs/` and those of `PAGES`. Out: `build/site`. A link to a document becomes a link to its
page; a link to any other file becomes plain text. Zensical fails on links and anchors that lead nowhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "bench/README.md": "benchmarks.md",
}
"""Pages of the site that are not in `docs/`."""
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def prepare(target: Path) -> None:
    """Write all pages and images into `target`."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "images", target / "images")
    pages = PAGES | {f"docs/{path.name}": path.name for path in (ROOT / "docs").glob("*.md")}
    for source, page in pages.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("docs/images/", "images/")
        (target / page).write_text(_relink(text, (ROOT / source).parent, pages), encoding="utf-8")


def _relink(text: str, folder: Path, pages: dict[str, str]) -> str:
    def link(match: re.Match[str]) -> str:
        label, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        page = pages.get((folder / path).resolve().relative_to(ROOT).as_posix())
        return f"[{label}]({page}{hash_sign}{anchor})" if page else label

    return _LINK.sub(link, text)


if __name__ == "__main__":
    prepare(ROOT / "build" / "docs")
    zensical = Path(sys.executable).with_name("zensical")
    sys.exit(subprocess.run([zensical, "build", "--strict", "--clean"], cwd=ROOT, check=False).returncode)
