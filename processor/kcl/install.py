"""`make kcl`: installs the Kinesis Client Library and its jars into this Python.

The library comes as source, and fetches its jars from Maven Central by itself, or from the repository that
``KCL_MVN_REPO_SEARCH_URL`` names: a mirror's URL, or ``file:///...`` for a folder laid out like one. Where it cannot
reach either but Maven can (through a proxy, with the mirrors of its settings), Maven fetches the very same jars into
such a folder first.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from liveinsight.model.errors import LiveInsightError
from processor.kcl.java import find_jars

ROOT = Path(__file__).resolve().parent.parent.parent
MIRROR = "KCL_MVN_REPO_SEARCH_URL"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_NAMESPACE = "{http://maven.apache.org/POM/4.0.0}"


def main() -> int:
    """Install, and say where the jars are."""
    try:
        sys.stdout.write(f"the jars are in {install(os.environ)}\n")
    except LiveInsightError as error:
        sys.stderr.write(f"make kcl: {error}\n")
        return 1
    return 0


def install(environ: Mapping[str, str]) -> Path:
    """Install the library unless it is there; gives the folder of its jars.

    Raises:
        LiveInsightError: it could not be done; the message says what to do.
    """
    requirement = _requirement()
    if mirror := environ.get(MIRROR):
        # The library puts path and URL together as they are.
        output = _run(_install(requirement), {MIRROR: mirror.rstrip("/") + "/"})
    else:
        output = _run(_install(requirement), {})
        if output and shutil.which("mvn"):
            sys.stdout.write("the library could not fetch its jars: trying Maven\n")
            output = _with_maven(requirement)
    if output:
        raise LiveInsightError(
            f"{output}\nSet {MIRROR} to a Maven repository that this machine reaches (file:///... for a folder), or "
            "install Maven and give it a mirror in its settings"
        )
    importlib.invalidate_caches()
    return find_jars()


def _requirement() -> str:
    """What the extra `kcl` asks for."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    if not setup.has_option("options.extras_require", "kcl"):
        raise LiveInsightError("this needs a checkout; elsewhere: pip install 'liveinsight[kcl]'")
    lines = setup.get("options.extras_require", "kcl").splitlines()
    return next(line for line in lines if line and not line.startswith("#"))


def _with_maven(requirement: str) -> str:
    with tempfile.TemporaryDirectory(prefix="liveinsight-kcl-") as name:
        folder = Path(name)
        download = _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", name, requirement)
        if output := _run(download, {}):
            return output
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as files:
            pom = next(member for member in files.getmembers() if member.name.endswith("/pom.xml"))
            content = files.extractfile(pom)
            (folder / "pom.xml").write_text(exact_pom(content.read().decode() if content else ""), encoding="utf-8")
        fetch = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), _COPY]
        options = ["-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={folder / 'repository'}"]
        if output := _run([*fetch, *options], {}):
            return output
        return _run(_install(requirement), {MIRROR: f"{(folder / 'repository').as_uri()}/"})


def exact_pom(pom: str) -> str:
    """A project that depends on the jars which the library's `pom` lists, each in that version and nothing else."""
    # It comes from the package that pip is about to run code of.
    project = ElementTree.fromstring(pom)  # noqa: S314
    properties = {
        f"${{{item.tag.removeprefix(_NAMESPACE)}}}": item.text or ""
        for item in project.findall(f"{_NAMESPACE}properties/*")
    }
    listed = []
    for dependency in project.iter(f"{_NAMESPACE}dependency"):
        group, artifact, version = (
            dependency.findtext(f"{_NAMESPACE}{name}", "") for name in ("groupId", "artifactId", "version")
        )
        listed.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{properties.get(version, version)}</version><exclusions><exclusion><groupId>*</groupId>"
            "<artifactId>*</artifactId></exclusion></exclusions></dependency>"
        )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>liveinsight</groupId><artifactId>kcl</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(listed)}</dependencies></project>\n"
    )


def _install(requirement: str) -> list[str]:
    """For pip a library without its jars is installed, and a build without them may be in its cache."""
    try:
        find_jars()
        again: tuple[str, ...] = ()
    except LiveInsightError:
        there = importlib.util.find_spec("amazon_kclpy") is not None
        again = ("--force-reinstall", "--no-deps", "--no-cache-dir") if there else ()
    return _pip("install", *again, requirement)


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]


def _run(command: list[str], extra: Mapping[str, str]) -> str:
    """The end of the command's output if it failed, "" otherwise."""
    done = subprocess.run(
        command,
        env={**os.environ, **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return "\n".join(done.stdout.splitlines()[-12:]) or "failed" if done.returncode else ""


if __name__ == "__main__":
    raise SystemExit(main())
