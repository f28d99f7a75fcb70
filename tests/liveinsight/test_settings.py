"""Settings: what is read, what is refused, and that docs/settings.md lists them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from liveinsight.aws.clients import endpoint_of
from liveinsight.model.errors import SettingsError
from liveinsight.settings import SETTINGS, Settings
from liveinsight.storage.stream import StartAt

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_field_has_a_setting() -> None:
    """The table and the dataclass name the same settings."""
    assert [setting.field for setting in SETTINGS] == [field.name for field in fields(Settings)]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_the_page_lists_every_setting(setting: object) -> None:
    """The table has the variable with its default and meaning."""
    default = f"`{setting.default}`" if setting.default else ""  # type: ignore[attr-defined]
    row = f"| `{setting.variable}` | {default} | {setting.meaning} |"  # type: ignore[attr-defined]
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


def test_endpoint_of_a_service() -> None:
    """A service's own endpoint wins over the common one, which wins over the local stack's standard place."""
    settings = Settings.from_env({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_KINESIS": "http://b:2"})
    assert (endpoint_of(settings, "kinesis"), endpoint_of(settings, "dynamodb")) == ("http://b:2", "http://a:1")
    assert endpoint_of(Settings.from_env({"LIVEINSIGHT_LOCAL": "1"}), "kinesis").endswith(":4566")
    assert endpoint_of(Settings.from_env({}), "kinesis") == ""
