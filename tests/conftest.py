"""Fixtures for all tests: a clock to turn, the in-memory backends, and one local AWS stack per run."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import hypothesis
import pytest

from liveinsight.aws.clients import dynamodb_client, kinesis_client
from liveinsight.aws.dynamodb import Dynamo
from liveinsight.aws.dynamodb_store import DynamoStore
from liveinsight.aws.kinesis import KinesisStream
from liveinsight.aws.schema import TableNames
from liveinsight.bootstrap import initialise
from liveinsight.devstack.loopback import free_port
from liveinsight.devstack.ministack import MiniStack
from liveinsight.settings import Settings
from liveinsight.testing.builders import FakeClock, MemoryStore, MemoryStream
from liveinsight.testing.resharding_stack import (
    JAVA_TOOLS,
    NODE_TOOLS,
    DynamoDBLocal,
    KinesisMock,
    install_dynamodb_local,
    install_kinesis_mock,
    missing,
)
from tests.seeds import draw_seed

SLOW_SUITES = ("browser", "emulator", "end_to_end", "kcl", "outage", "simulation")
EMULATORS = {"kinesis_mock", "dynamodb_local", "fresh_dynamodb_local"}
IN_CI = os.environ.get("CI") == "true"
_numbers = count()

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """TEST_SEED is the seed of Hypothesis, too. Programs under test take Ctrl-C, even under `pytest &`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.option.hypothesis_seed = os.environ.get("TEST_SEED") or config.option.hypothesis_seed


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow suites. The longest comes first, so that two processes share the rest and end together."""
    for item in items:
        if EMULATORS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.emulator)
        if any(item.get_closest_marker(suite) for suite in SLOW_SUITES):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("kcl") is None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the default settings, whatever the shell that started them has set."""
    for name in list(os.environ):
        if name.startswith(("LIVEINSIGHT_", "AWS_ENDPOINT", "AWS_REGION", "AWS_DEFAULT_REGION")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, testrun_uid: str) -> Iterator[None]:
    """Where several processes share the tests, one that is marked `alone` has the machine for itself.

    Two locks: all take turns at the gate, and who must be alone stays in it until the others have ended.
    """
    folder = Path(tempfile.gettempdir())
    alone = request.node.get_closest_marker("alone") is not None
    with (folder / f"{testrun_uid}.gate").open("w") as gate, (folder / f"{testrun_uid}.room").open("w") as room:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture
def seed() -> int:
    return draw_seed()


@pytest.fixture
def rng(seed: int) -> random.Random:
    """All that is random in a test."""
    return random.Random(seed)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def stream(clock: FakeClock) -> MemoryStream:
    return MemoryStream(clock, shards=2)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """A MiniStack on loopback, shared by the tests of a process: each uses names of its own."""
    process = MiniStack(Path(tmp_path_factory.mktemp("ministack")), port=free_port())
    yield process
    process.stop()


def need(tools: tuple[str, ...]) -> None:
    """Skip what needs tools that this machine lacks; in CI that is a failure."""
    if problem := missing(tools):
        if IN_CI:
            pytest.fail(problem)
        pytest.skip(problem)


@pytest.fixture(scope="session")
def kinesis_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KinesisMock]:
    """A Kinesis that can reshard, shared by all tests: each uses a stream of its own and deletes none."""
    need(NODE_TOOLS)
    install_kinesis_mock()
    process = KinesisMock(tmp_path_factory.mktemp("kinesis-mock"))
    yield process
    process.stop()


@pytest.fixture(scope="session")
def dynamodb_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoDBLocal]:
    """Amazon's own DynamoDB for one machine, shared by all tests: each uses tables of its own."""
    need(JAVA_TOOLS)
    install_dynamodb_local()
    process = DynamoDBLocal(tmp_path_factory.mktemp("dynamodb-local"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def fresh_dynamodb_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoDBLocal]:
    """One that no other module has used, for the Kinesis Client Library: it makes an index of its own, which in an
    instance with many tables behind it may stay in the making for ever."""
    need(JAVA_TOOLS)
    install_dynamodb_local()
    process = DynamoDBLocal(tmp_path_factory.mktemp("fresh-dynamodb-local"))
    yield process
    process.stop()


@pytest.fixture
def aws_environ(ministack: MiniStack) -> dict[str, str]:
    """Environment for a program that works on a fresh stream and fresh tables of the local AWS stack."""
    name = f"test{next(_numbers)}"
    return {
        "AWS_ENDPOINT_URL": ministack.url,
        "LIVEINSIGHT_STREAM": name,
        "LIVEINSIGHT_TABLE_PREFIX": name,
    }


@pytest.fixture
def aws(aws_environ: dict[str, str]) -> Settings:
    """Settings of a fresh stream and fresh tables, created."""
    settings = Settings.from_env(aws_environ)
    initialise(settings)
    return settings


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Settings:
    """Settings of a fresh stream and store in SQLite, created."""
    settings = Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(tmp_path / "data")})
    initialise(settings)
    return settings


@pytest.fixture(params=["sqlite", "stand-in"])
def environ(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Environment for a program that works on a fresh backend: SQLite, or the local AWS stack."""
    if request.param == "sqlite":
        return {"LIVEINSIGHT_DATA_DIR": str(tmp_path / "data")}
    environ: dict[str, str] = request.getfixturevalue("aws_environ")
    return environ


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of that backend, created."""
    settings = Settings.from_env(environ)
    initialise(settings)
    return settings


@pytest.fixture
def open_aws() -> Callable[[Settings], tuple[KinesisStream, DynamoStore]]:
    """Gives the stream and store that settings name."""

    def open_both(settings: Settings) -> tuple[KinesisStream, DynamoStore]:
        dynamo = Dynamo(dynamodb_client(settings))
        names = TableNames.with_prefix(settings.table_prefix)
        return KinesisStream(kinesis_client(settings), settings.stream_name), DynamoStore(dynamo, names)

    return open_both
