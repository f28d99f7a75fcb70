"""`make test` runs the fast tests, and CI runs all."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import SLOW_SUITES

ROOT = Path(__file__).parents[2]


def commands(target: str, **variables: str) -> list[str]:
    """The pytest commands of a target of the Makefile, and what it says."""
    environ = {name: value for name, value in os.environ.items() if name not in {"CI", "MAKEFLAGS", "ARGS"}}
    given = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        ["make", "--dry-run", target, *given], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines() if "pytest" in line or line.startswith("echo")]


def test_fast_tests_and_what_is_left_out() -> None:
    """Without CI the slow suites are left out, and the last line says which."""
    run, said = commands("test")
    assert run.endswith("-m 'not slow'")
    assert f"({' '.join(SLOW_SUITES)})" in said
    assert "make test-all" in said


def test_everything_runs_in_ci() -> None:
    """First the fast tests with their coverage, then all others."""
    fast, slow = commands("test", CI="true")
    assert "-m 'not slow' --cov" in fast
    assert slow.endswith("-m slow")


@pytest.mark.parametrize("target", ["test", "test-all"])
def test_arguments_select_from_all_tests(target: str) -> None:
    """A slow test that is asked for by its name is run."""
    (run,) = commands(target, ARGS="-k privacy")
    assert run.endswith("-k privacy")
    assert " -m 'not slow'" not in run


def test_every_suite_is_a_marker(pytestconfig: pytest.Config) -> None:
    """pytest knows the suites by name."""
    markers = {re.split(r"[:(]", line)[0] for line in pytestconfig.getini("markers")}
    assert {*SLOW_SUITES, "slow"} <= markers
