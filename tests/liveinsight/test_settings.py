"""Settings: what is read, what is refused, and that docs/settings.md lists them."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from liveinsight.aws.clients import endpoint_of
from liveinsight.model.errors import SettingsError
from liveinsight.settings import SETTINGS, Setting, Settings
from liveinsight.storage.stream import StartAt

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_the_page_lists_every_setting(setting: Setting) -> None:
    """The table has the variable with its default and meaning."""
    default = f"`{setting.default}`" if setting.default else ""
    row = f"| `{setting.variable}` | {default} | {setting.meaning} |"
    assert row in PAGE.read_text(encoding="utf-8")


def test_the_page_lists_no_other_setting() -> None:
    """The table has nothing that is not read."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(("| `LIVE", "| `AWS_"))]
    assert len(rows) == len(SETTINGS)


def test_defaults() -> None:
    """Nothing set gives a working local configuration."""
    settings = Settings.from_env({})
    assert (list(settings.sites), settings.start_at, settings.region) == (
        ["default"],
        StartAt.TRIM_HORIZON,
        "us-east-1",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIVEINSIGHT_SITES", "Bad Name!"),
        ("LIVEINSIGHT_SITES", "shop=Mars/Olympus"),
        ("LIVEINSIGHT_SITES", "a#b"),
        ("LIVEINSIGHT_SHARDS", "0"),
        ("LIVEINSIGHT_SHARDS", "many"),
        ("LIVEINSIGHT_START_AT", "YESTERDAY"),
        ("LIVEINSIGHT_POLL_INTERVAL", "nan"),
        ("LIVEINSIGHT_LOCAL", "maybe"),
        ("LIVEINSIGHT_TYPO", "1"),
    ],
)
def test_bad_value_is_refused_with_its_name(variable: str, value: str) -> None:
    """A value that cannot be used names its variable."""
    with pytest.raises(SettingsError, match=variable):
        Settings.from_env({variable: value})


def test_a_refusal_says_what_the_variable_takes() -> None:
    """The message has the value, the bound, and the meaning of the setting."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"LIVEINSIGHT_SHARDS": "0"})
    assert str(caught.value).startswith("LIVEINSIGHT_SHARDS='0': Expected `int` >= 1 (number of shards")


@pytest.mark.parametrize(
    ("variable", "value", "field", "read"),
    [
        ("LIVEINSIGHT_START_AT", "latest", "start_at", StartAt.LATEST),
        ("LIVEINSIGHT_LOCAL", "On", "local", True),
        ("LIVEINSIGHT_LOCAL", "0", "local", False),
        ("LIVEINSIGHT_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("LIVEINSIGHT_SHARDS", " 4\n", "shards", 4),
        ("LIVEINSIGHT_SHARDS", "", "shards", 2),
        ("LIVEINSIGHT_STREAM", "clicks", "stream_name", "clicks"),
        ("LIVEINSIGHT_DATACENTRES", "/etc/ranges", "data_centres", "/etc/ranges"),
        ("LIVEINSIGHT_SITES", "a, b=Asia/Tokyo", "sites", {"a": ZoneInfo("UTC"), "b": ZoneInfo("Asia/Tokyo")}),
        ("AWS_DEFAULT_REGION", "eu-west-1", "region", "eu-west-1"),
    ],
)
def test_text_becomes_a_value(variable: str, value: str, field: str, read: object) -> None:
    """Case and spaces around a value do not matter; an empty variable is the default."""
    assert getattr(Settings.from_env({variable: value}), field) == read


def test_endpoint_of_a_service() -> None:
    """A service's own endpoint wins over the common one, which wins over the local stack's standard place."""
    settings = Settings.from_env({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_KINESIS": "http://b:2"})
    assert (endpoint_of(settings, "kinesis"), endpoint_of(settings, "dynamodb")) == ("http://b:2", "http://a:1")
    assert endpoint_of(Settings.from_env({"LIVEINSIGHT_LOCAL": "1"}), "kinesis").endswith(":4566")
    assert endpoint_of(Settings.from_env({}), "kinesis") == ""


def test_states_outlive_the_stream() -> None:
    """A visitor's state is kept two days longer than records; on AWS the stream's retention is not ours to know."""
    with pytest.raises(SettingsError, match="LIVEINSIGHT_SESSION_DAYS=7 must be at least 2 more than"):
        Settings.from_env({"LIVEINSIGHT_STREAM_DAYS": "6"})
    assert Settings.from_env({"LIVEINSIGHT_STREAM_DAYS": "5"}).stream_days == 5
    assert Settings.from_env({"LIVEINSIGHT_SESSION_DAYS": "1", "LIVEINSIGHT_BACKEND": "aws"}).session_days == 1
