"""The template in `deploy/`: valid for CloudFormation, and a mapping as counting once needs it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import cfnlint.api
import pytest

from liveinsight.event_source_mapping import _problems, _reports_failures
from liveinsight.settings import SETTINGS

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
