"""The hooks that run before a commit."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pre_commit.clientlib import load_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / ".pre-commit-config.yaml"


def test_hooks_run_what_make_check_runs() -> None:
    """The file is one that pre-commit takes, and its hooks are the commands of `make check`, no more and no fewer."""
    load_config(CONFIG)
    (repository,) = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    checks = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in repository["hooks"]] == checks
