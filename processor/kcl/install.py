"""`make kcl`: installs the Kinesis Client Library and its jars into this Python.

The library is installed from its source, and fetches the jars that are not in the source folder from Maven Central, or
from the repository that ``KCL_MVN_REPO_SEARCH_URL`` names. Where Maven is installed, it fetches the jars first: it
knows the proxies and mirrors of this machine.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from liveinsight.model.errors import LiveInsightError
from processor.kcl.java import find_jars

MIRROR = "KCL_MVN_REPO_SEARCH_URL"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_IDENTITY = "<groupId>kcl</groupId><artifactId>jars</artifactId><version>1</version>"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def main() -> int:
    """Install, and say where the jars are."""
    try:
        sys.stdout.write(f"the jars are in {install()}\n")
    except LiveInsightError as error:
        sys.stderr.write(f"make kcl: {error}\n")
        return 1
    return 0


def install() -> Path:
    """Install the library and its jars unless they are there; returns the folder of the jars.

    Raises:
        LiveInsightError: it failed; the message says what to do.
    """
    requirement = next(text for text in importlib.metadata.requires("liveinsight") or () if "kclpy" in text)
    requirement = requirement.partition(";")[0].strip()
    if not (_has_jars() and _succeeds(*_PIP, "install", requirement)):
        with tempfile.TemporaryDirectory(prefix="liveinsight-kcl-") as name:
            _install_from_source(requirement, Path(name))
        importlib.invalidate_caches()
    return find_jars()


def _has_jars() -> bool:
    try:
        return bool(find_jars())
    except LiveInsightError:
        return False


def _install_from_source(requirement: str, folder: Path) -> None:
    _run(*_PIP, "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), requirement)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    if shutil.which("mvn"):
        # The library's list of jars is a Maven project but for its name.
        pom = source / "pom.xml"
        pom.write_text(pom.read_text(encoding="utf-8").replace("</modelVersion>", f"</modelVersion>{_IDENTITY}", 1))
        target = f"-DoutputDirectory={source / 'amazon_kclpy' / 'jars'}"
        _succeeds("mvn", "-q", "-B", "-f", str(pom), _COPY, "-DexcludeTransitive=true", target)
    _run(*_PIP, "install", "--force-reinstall", "--no-deps", str(source))


def _succeeds(*command: str) -> bool:
    try:
        _run(*command)
    except LiveInsightError as error:
        sys.stdout.write(f"{error}\n")
        return False
    return True


def _run(*command: str) -> None:
    # The library puts URL and path together as they are.
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    done = subprocess.run(
        command,
        env={**os.environ, MIRROR: f"{mirror}/"} if mirror else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-12:])
        raise LiveInsightError(
            f"{command[0]} failed: {end}\nInstall Maven and give it a mirror in its settings, or set {MIRROR} to a "
            "Maven repository that this machine reaches (file:///... for a folder)"
        )


if __name__ == "__main__":
    raise SystemExit(main())
