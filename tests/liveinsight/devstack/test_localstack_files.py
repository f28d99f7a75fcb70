"""The files in `localstack/`: valid by their schema, on loopback only, and with one way to make stream and tables.

No container is started here: that needs Docker. The hook is run, against MiniStack.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from liveinsight.aws.clients import dynamodb_client, endpoint_of, kinesis_client
from liveinsight.aws.schema import TableNames
from liveinsight.devstack.ministack import MiniStack
from liveinsight.settings import SETTINGS, Settings

ROOT = Path(__file__).parents[3]
KNOWN = {setting.variable for setting in SETTINGS}
LOCALSTACK = ROOT / "localstack"
HOOK = LOCALSTACK / "ready.d" / "liveinsight-init.sh"


@pytest.fixture
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((LOCALSTACK / "compose.yml").read_text(encoding="utf-8"))
    return content


def packages() -> set[str]:
    """The folders that `pip install` takes."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return {name for name in config["options.packages.find"]["include"].split() if not name.endswith(".*")}


def test_compose_file_follows_its_specification() -> None:
    """The file is valid by the schema of the Compose specification."""
    arguments = ["--builtin-schema", "vendor.compose-spec", str(LOCALSTACK / "compose.yml")]
    result = CliRunner().invoke(check_jsonschema, arguments)
    assert result.exit_code == 0, result.output


def test_nothing_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    """Every published port is on loopback, at the port where local stacks are by custom."""
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:4566:4566"] * 2


def test_every_stack_runs_init(compose: dict[str, Any]) -> None:
    """MiniStack has a container beside it that waits until it is healthy; LocalStack has the hook, and the checkout."""
    services = compose["services"]
    assert services["init"]["depends_on"] == {"ministack": {"condition": "service_healthy"}}
    assert services["init"]["environment"]["AWS_ENDPOINT_URL"] == "http://ministack:4566"
    mounts = dict(volume.split(":", 1) for volume in services["localstack"]["volumes"])
    assert mounts["./ready.d"] == "/etc/localstack/init/ready.d:ro"
    assert mounts[".."] == "/opt/liveinsight:ro"
    assert "LOCALSTACK_AUTH_TOKEN" in services["localstack"]["environment"]
    assert "LOCALSTACK_AUTH_TOKEN" not in services["ministack"]["environment"]
    assert all(name in KNOWN for name in services["init"]["environment"] if name.startswith("LIVEINSIGHT"))


@pytest.mark.parametrize("file", ["localstack/Dockerfile", "deploy/Dockerfile"])
def test_images_hold_all_packages(file: str) -> None:
    """An image is built from the packages of setup.cfg, whichever are added."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert {line.split()[1] for line in lines if re.fullmatch(r"COPY (\w+) \1", line)} == packages()


def test_hook_installs_all_packages() -> None:
    """So does the hook, which is executable, as LocalStack wants it."""
    (copied,) = re.findall(r"for part in (.*); do", HOOK.read_text(encoding="utf-8"))
    assert packages() <= set(copied.split())
    assert all((ROOT / part).exists() for part in copied.split())
    assert os.access(HOOK, os.X_OK)


def test_hook_makes_stream_and_tables(ministack: MiniStack, tmp_path: Path) -> None:
    """The hook ends with `liveinsight init`, under the names of the settings; a second run changes nothing."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "liveinsight"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m liveinsight "$@"\n')
    command.chmod(0o755)
    environ = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        "VENV": str(tmp_path),
        "AWS_ENDPOINT_URL": ministack.url,
        "LIVEINSIGHT_STREAM": "hooked",
        "LIVEINSIGHT_TABLE_PREFIX": "hooked",
        "LIVEINSIGHT_SHARDS": "",
    }
    for expected in ("stream hooked created", "stream hooked is there"):
        done = subprocess.run(["sh", str(HOOK)], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert expected in done.stdout
    settings = Settings.from_env({name: value for name, value in environ.items() if name not in {"PATH", "VENV"}})
    assert kinesis_client(settings).describe_stream_summary(StreamName="hooked")
    for name in vars(TableNames.with_prefix("hooked")).values():
        assert dynamodb_client(settings).describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"


def test_localstack_client_says_where_the_stack_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With LIVEINSIGHT_LOCAL the endpoints are those that localstack-client knows; an explicit one goes before."""
    local = Settings.from_env({"LIVEINSIGHT_LOCAL": "true"})
    assert {endpoint_of(local, service) for service in ("kinesis", "dynamodb")} == {"http://localhost:4566"}
    monkeypatch.setenv("LOCALSTACK_HOST", "stack.internal:4567")
    assert endpoint_of(local, "kinesis") == "http://stack.internal:4567"
    mixed = Settings.from_env({"LIVEINSIGHT_LOCAL": "true", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"})
    assert endpoint_of(mixed, "dynamodb") == "http://127.0.0.1:1"
    assert endpoint_of(mixed, "kinesis") == "http://stack.internal:4567"
    assert endpoint_of(Settings.from_env({}), "kinesis") == ""
