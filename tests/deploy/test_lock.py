"""requirements.lock: it allows what setup.cfg asks for, and it pins all that is installed with it."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
NOT_ALWAYS_INSTALLED = {"amazon-kclpy"}  # `make kcl` does


def lines_of(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def applies(requirement: Requirement, extras: Iterable[str] = ("",)) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def asked_for() -> list[Requirement]:
    """The dependencies in setup.cfg, with those of all extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return lines_of("\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()]))


def pins() -> dict[str, str]:
    """Version by name, of the lines of the lock file that hold for this Python."""
    held = [line for line in lines_of(LOCK.read_text(encoding="utf-8")) if applies(line)]
    assert len({line.name for line in held}) == len(held)
    return {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in held}


def needed_by(roots: Iterable[Requirement]) -> Iterator[tuple[str, str]]:
    """Name and installed version of `roots` and of everything that they depend on."""
    todo = list(roots)
    seen: set[str] = set()
    while todo:
        requirement = todo.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        name = canonicalize_name(requirement.name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name in NOT_ALWAYS_INSTALLED:
                continue
            raise
        yield name, found.version
        extras = ("", *requirement.extras)
        todo += [needed for line in found.requires or [] if applies(needed := Requirement(line), extras)]


@pytest.mark.parametrize("requirement", asked_for(), ids=lambda requirement: requirement.name)
def test_a_pin_is_in_the_range_of_setup_cfg(requirement: Requirement) -> None:
    """Every dependency has a pin, and setup.cfg allows it. `make lock` makes the file again."""
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_everything_installed_is_pinned() -> None:
    """What is installed is what the file says, indirect dependencies too. `make setup-dev` installs it."""
    installed = dict(needed_by(asked_for()))
    assert len(installed) > len(asked_for())
    pinned = pins()
    assert installed == {name: pinned.get(name, "no pin") for name in installed}


def test_it_names_no_place_to_download_from() -> None:
    """Everybody installs from the package index that their pip is set to."""
    assert not re.search(r"://|^-|@", LOCK.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "file", ["Makefile", "deploy/Dockerfile", "localstack/Dockerfile", "localstack/ready.d/liveinsight-init.sh"]
)
def test_every_installation_uses_it(file: str) -> None:
    """Each `pip install` of the project is constrained by the file."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("$(LOCK)", LOCK.name)
    installs = [line for line in text.splitlines() if re.search(r"(pip|PIP\)).*install", line) and "uv" not in line]
    installs = [line for line in installs if not line.startswith("#")]
    assert installs
    assert all(re.search(r'--constraint "?(\$build/)?requirements.lock', line) for line in installs), installs
