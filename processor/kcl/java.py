"""Finds Java and the jars of the library, or says how to install them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from liveinsight.model.errors import LiveInsightError

DAEMON_CLASS = "software.amazon.kinesis.multilang.MultiLangDaemon"
_JAR = "amazon-kinesis-client-multilang-*.jar"
_FIX = "`make kcl` in a checkout, or pip install 'liveinsight[kcl]'"


def find_java(environ: Mapping[str, str]) -> Path:
    """The `java` of ``JAVA_HOME`` or of the path.

    Raises:
        LiveInsightError: there is none; the message says how to install it.
    """
    home = environ.get("JAVA_HOME", "")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("java", path=environ.get("PATH", os.defpath))
    if not found:
        raise LiveInsightError(
            "--runtime kcl needs Java 8 or newer, and `java` was not found: install it, e.g. with apt-get install "
            "default-jre-headless, or set JAVA_HOME. The embedded worker (--runtime embedded) needs no Java"
        )
    return Path(found)


def find_jars() -> Path:
    """The folder with the jars of the library.

    Raises:
        LiveInsightError: the library or its jars are not installed; the message says what to do.
    """
    package = importlib.util.find_spec("amazon_kclpy")
    if package is None or not package.origin:
        raise LiveInsightError(f"--runtime kcl needs the Kinesis Client Library, which is not installed: {_FIX}")
    jars = Path(package.origin).parent / "jars"
    if not any(jars.glob(_JAR)):
        raise LiveInsightError(f"{jars} does not hold the jars of the Kinesis Client Library: {_FIX} brings them")
    return jars


def daemon_command(java: Path, jars: Path, properties: Path, logback: Path) -> list[str]:
    """The command that starts the daemon. More options for Java come from ``JAVA_TOOL_OPTIONS``."""
    return [
        str(java),
        # Otherwise a thread that runs out of memory ends alone, and its shard stalls.
        "-XX:+ExitOnOutOfMemoryError",
        "-cp",
        f"{jars}{os.sep}*",
        DAEMON_CLASS,
        "--properties-file",
        str(properties),
        "--log-configuration",
        str(logback),
    ]
