"""The template in `deploy/`: valid for CloudFormation, and a mapping as counting once needs it. And systemd's unit."""

from __future__ import annotations

import configparser
from importlib import import_module
from pathlib import Path
from typing import Any

import cfnlint.api
import pytest

from liveinsight.aws.lambda_mapping import _problems, _reports_failures
from liveinsight.devstack.up import DRAIN_SECONDS
from liveinsight.settings import SETTINGS
from processor.kcl import exit_codes
from processor.kcl.launcher import KILL_AFTER
from processor.kcl.properties import GRACE_MS

DEPLOY = Path(__file__).parents[2] / "deploy"
TEMPLATE = DEPLOY / "lambda.yaml"


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    template, _ = cfnlint.decode.decode(str(TEMPLATE))
    found: dict[str, Any] = template["Resources"]
    return found


def test_template_is_valid() -> None:
    """cfn-lint, with CloudFormation's own resource schemas, has nothing to say."""
    findings = cfnlint.api.lint_file(TEMPLATE)
    assert [str(finding) for finding in findings] == []


def test_mapping_is_one_that_the_function_accepts(resources: dict[str, Any]) -> None:
    """What the function looks for in its mapping is what the template sets; and no batch is given up early."""
    mapping = resources["Mapping"]["Properties"]
    assert _problems(mapping) == []
    assert _reports_failures(mapping)
    assert mapping["ParallelizationFactor"] == 1
    assert mapping["BisectBatchOnFunctionError"] is True
    assert (mapping["MaximumRetryAttempts"], mapping["MaximumRecordAgeInSeconds"]) == (-1, -1)
    assert "OnFailure" in mapping["DestinationConfig"]


def test_function_of_the_image_is_there() -> None:
    """The image's command names a callable."""
    (command,) = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("CMD")]
    module, _, name = command.split('"')[1].rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_environment_is_known(resources: dict[str, Any]) -> None:
    """The function would refuse to start with a variable that is no setting."""
    variables = resources["Function"]["Properties"]["Environment"]["Variables"]
    assert set(variables) <= {setting.variable for setting in SETTINGS}


def test_unit_gives_the_worker_time_and_starts_it_again() -> None:
    """systemd waits for the drain, and starts again what a restart helps."""
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "liveinsight-worker.service")
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) > GRACE_MS / 1000 + KILL_AFTER
    assert service["Restart"] == "always"
    left = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert left == {exit_codes.NOT_STARTED, exit_codes.TOO_MANY_DEAD_LETTERS}
    assert service.getint("SuccessExitStatus") == exit_codes.GENERATION_CHANGED
    assert service["ExecStart"].endswith("/liveinsight worker --runtime kcl")


def test_unit_of_one_machine_drains_in_order() -> None:
    """systemd signals the parent alone, waits for three drains, one after the other, and keeps the data folder."""
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "liveinsight.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/liveinsight up --production")
    assert (service["Type"], service["KillMode"], service["Restart"]) == ("notify", "mixed", "always")
    assert int(service["TimeoutStopSec"]) > 3 * DRAIN_SECONDS
    assert (service["User"], service["ProtectSystem"], service["NoNewPrivileges"]) == ("liveinsight", "strict", "true")
    assert service["Environment"] == f"LIVEINSIGHT_DATA_DIR=/var/lib/{service['StateDirectory']}"
