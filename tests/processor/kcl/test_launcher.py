"""The files written for the daemon, the outcomes it is given, and what is said when something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from liveinsight.model.errors import LiveInsightError, SettingsError
from liveinsight.settings import Settings
from processor.kcl import exit_codes
from processor.kcl.exit_codes import Note, outcome, unfinished
from processor.kcl.java import find_jars, find_java
from processor.kcl.launcher import KILL_AFTER, child_command, child_environment
from processor.kcl.properties import daemon_properties, grace_seconds, logback_text, properties_text
from processor.shard.options import ProcessorOptions


def properties(*changes: str, generation: int = 1, **environ: str) -> dict[str, str]:
    return daemon_properties(
        Settings.from_env(environ),
        command="python -m processor.kcl.child",
        worker_id="me",
        generation=generation,
        kinesis_endpoint="",
        dynamodb_endpoint="http://127.0.0.1:1",
        changes=changes,
    )


def test_properties_follow_from_the_settings() -> None:
    """The stream, the lease table under our prefix, where to begin, and an endpoint only where one is given."""
    got = properties(LIVEINSIGHT_STREAM="s", LIVEINSIGHT_TABLE_PREFIX="p", LIVEINSIGHT_START_AT="LATEST")
    assert got["streamName"] == "s"
    assert got["applicationName"] == "p-kcl"
    assert got["initialPositionInStream"] == "LATEST"
    assert got["dynamoDBEndpoint"] == "http://127.0.0.1:1"
    assert "kinesisEndpoint" not in got


def test_properties_avoid_the_librarys_traps() -> None:
    """No fan-out to be paid for, no CloudWatch bill, time to drain, ticks on a quiet shard, and an end to hanging."""
    got = properties()
    assert got["retrievalMode"] == "POLLING"
    assert got["metricsLevel"] == "NONE"
    assert got["callProcessRecordsEvenForEmptyRecordList"] == "true"
    assert int(got["maxRecords"]) <= 10_000
    assert int(got["idleTimeBetweenReadsInMillis"]) >= 200


def test_the_gentler_end_comes_first() -> None:
    """A drain fits into the daemon's grace and into a handoff; giving up on the tables comes before the time-out."""
    options, got = ProcessorOptions(), properties()
    assert options.drain_within < grace_seconds(got) < grace_seconds(got) + KILL_AFTER <= 45
    assert options.drain_within * 1000 < int(got["gracefulLeaseHandoffTimeoutMillis"])
    assert 2 * options.give_up_after < int(got["timeoutInSeconds"])


def test_another_generation_has_a_lease_table_of_its_own() -> None:
    """And begins with all there is, whatever the first start did."""
    got = properties(generation=2, LIVEINSIGHT_START_AT="LATEST")
    assert got["applicationName"] == "liveinsight-kcl-g2"
    assert got["initialPositionInStream"] == "TRIM_HORIZON"


def test_changes_are_taken_last_but_not_all() -> None:
    """An operator may change a cadence; what counting depends on follows from the settings."""
    assert properties("metricsLevel=SUMMARY", "failoverTimeMillis = 5000")["failoverTimeMillis"] == "5000"
    for change in ("streamName=x", "applicationName=x", "executableName=x"):
        with pytest.raises(SettingsError, match="follows from"):
            properties(change)
    for change in ("failover", "=1", "x=", "a b=1"):
        with pytest.raises(SettingsError, match="NAME=VALUE"):
            properties(change)
    for change in ("maxRecords=0", "maxRecords=10001", "maxRecords=many"):
        with pytest.raises(SettingsError, match="1 to 10000"):
            properties(change)
    with pytest.raises(SettingsError, match="milliseconds"):
        grace_seconds(properties("shutdownGraceMillis=soon"))


def test_properties_are_escaped_as_java_reads_them() -> None:
    """Backslashes, line ends and what is not ASCII."""
    assert properties_text({"a": "x\\y\nz", "b": "ü😀"}) == "a = x\\\\y\\nz\nb = \\u00fc\\ud83d\\ude00\n"


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_logback_is_xml_and_passes_childrens_lines_once(level: str) -> None:
    """Whatever the log level: the class that would repeat each line of a child is silent."""
    root = ElementTree.fromstring(logback_text(level))
    levels = {logger.get("name"): logger.get("level") for logger in root.iter("logger")}
    assert levels["software.amazon.kinesis.multilang.DrainChildSTDERRTask"] == "OFF"


@pytest.mark.parametrize(
    ("notes", "told", "drained", "daemon", "expected"),
    [
        ([], True, True, 143, exit_codes.DRAINED),
        ([], True, False, 143, exit_codes.DRAINED),
        (["running"], True, False, 143, exit_codes.NOT_DRAINED),
        (["running"], True, False, -9, exit_codes.NOT_DRAINED),
        (["running"], True, True, -9, exit_codes.DRAINED),
        (["running", "73"], False, False, 1, exit_codes.CRASHED),
        (["running", "71"], True, True, 143, exit_codes.FLUSH_ABANDONED),
        (["running"], False, False, 1, exit_codes.DAEMON_FAILED),
        ([], False, True, 1, exit_codes.DAEMON_FAILED),
        ([], False, True, -9, exit_codes.DAEMON_FAILED),
    ],
)
def test_exit_codes(tmp_path: Path, *, notes: list[str], told: bool, drained: bool, daemon: int, expected: int) -> None:
    """What the children noted decides; without a note, whether we were told to stop."""
    for pid, text in enumerate(notes):
        note = Note(tmp_path, pid)
        note.begun()
        if text != "running":
            note.failed(int(text))
    done = Note(tmp_path, 99)
    done.begun()
    done.done()
    assert unfinished(tmp_path) == ("running" in notes)
    assert outcome(tmp_path, told_to_stop=told, drained=drained, daemon_code=daemon) == expected
    assert expected in exit_codes.MEANINGS


def test_missing_java_is_named_with_the_fix(tmp_path: Path) -> None:
    """An operator reads what to install."""
    with pytest.raises(LiveInsightError, match="JAVA_HOME"):
        find_java({"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)})


def test_a_missing_library_and_missing_jars_are_named_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library without its jars is what a failed download leaves."""
    real = sys.path[:]
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(LiveInsightError, match="make kcl"):
        find_jars()
    (tmp_path / "amazon_kclpy").mkdir()
    (tmp_path / "amazon_kclpy" / "__init__.py").touch()
    sys.path_importer_cache.pop(str(tmp_path), None)
    with pytest.raises(LiveInsightError, match="does not hold the jars"):
        find_jars()
    (tmp_path / "amazon_kclpy" / "jars").mkdir()
    (tmp_path / "amazon_kclpy" / "jars" / "amazon-kinesis-client-multilang-3.jar").touch()
    assert find_jars() == tmp_path / "amazon_kclpy" / "jars"
    monkeypatch.setattr(sys, "path", real)


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    """`liveinsight worker --runtime kcl` without Java ends with 1 and one line; --help names all exit codes."""
    environ = {**os.environ, "PATH": str(tmp_path), "JAVA_HOME": ""}
    command = [sys.executable, "-m", "liveinsight", "worker"]
    done = subprocess.run([*command, "--runtime", "kcl"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == exit_codes.NOT_STARTED
    assert "--runtime kcl needs Java" in done.stderr
    assert "Traceback" not in done.stderr
    shown = subprocess.run([*command, "--help"], env=environ, capture_output=True, text=True, check=True).stdout
    for code in exit_codes.MEANINGS:
        assert f"{code:5} " in shown
    refused = subprocess.run([*command, "--kcl", "a=1"], env=environ, capture_output=True, text=True, check=False)
    assert refused.returncode == 2


def test_children_are_started_with_this_python(tmp_path: Path) -> None:
    """The daemon cuts the command at spaces, so Python is found by name, first in the path."""
    assert child_command(Path("/a b/python"), 2, tmp_path).startswith("python -m processor.kcl.child --generation 2")
    with pytest.raises(SettingsError, match="TMPDIR"):
        child_command(Path("/a/python"), 1, Path("/a b"))
    environment = child_environment({"PATH": "/bin"}, Path("/a b/python"), local=False)
    assert environment == {"PATH": f"/a b{os.pathsep}/bin"}


def test_a_local_aws_stack_gets_any_credentials() -> None:
    """Unless there are some; AWS itself never gets made-up ones."""
    made_up = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    python = Path("/python")
    assert made_up.items() <= child_environment({}, python, local=True).items()
    assert "AWS_SECRET_ACCESS_KEY" not in child_environment({"AWS_ACCESS_KEY_ID": "mine"}, python, local=True)
    assert "AWS_ACCESS_KEY_ID" not in child_environment({}, python, local=False)
