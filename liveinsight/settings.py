"""All settings, as one table of data: the only place that knows environment variables.

`SETTINGS` names every variable with its default and meaning; a test compares docs/settings.md with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from liveinsight.model.errors import SettingsError
from liveinsight.sites.rules import site_name, time_zone
from liveinsight.storage.stream import StartAt


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("use true or false")


def _count(value: str) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("use a whole number, zero or more")
    return number


def _at_least_one(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("use a whole number, one or more")
    return number


def _seconds(value: str) -> float:
    number = float(value)
    if not 0.05 <= number <= 3600:
        raise ValueError("use seconds from 0.05 to 3600")
    return number


def _share(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError("use a fraction from 0 to 1, such as 0.2")
    return number


def _start(value: str) -> StartAt:
    try:
        return StartAt(value.upper())
    except ValueError:
        raise ValueError("use TRIM_HORIZON or LATEST") from None


def _sites(value: str) -> dict[str, ZoneInfo]:
    sites = {}
    for part in value.replace(",", " ").split():
        name, _, zone = part.partition("=")
        sites[site_name(name)] = ZoneInfo(time_zone(zone or "UTC"))
    if not sites:
        raise ValueError("name at least one site")
    return sites


@dataclass(frozen=True)
class Setting:
    """One environment variable: its field in `Settings`, its default as text, how to read it, what it means."""

    variable: str
    field: str
    default: str
    parse: Callable[[str], Any]
    meaning: str


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "LIVEINSIGHT_SITES",
        "sites",
        "default=UTC",
        _sites,
        "sites that `init` and `up` make if they have never been, `name=Area/City`, separated by spaces; "
        "the first becomes the default one; all else about sites: `liveinsight site`",
    ),
    Setting("LIVEINSIGHT_STREAM", "stream_name", "liveinsight-events", _text, "name of the Kinesis stream"),
    Setting(
        "LIVEINSIGHT_SHARDS",
        "shards",
        "2",
        _at_least_one,
        "shards of the stream when `init` creates it; 0 is not allowed",
    ),
    Setting("LIVEINSIGHT_TABLE_PREFIX", "table_prefix", "liveinsight", _text, "prefix of the DynamoDB tables' names"),
    Setting(
        "LIVEINSIGHT_DELETION_PROTECTION",
        "deletion_protection",
        "false",
        _flag,
        "whether `init` protects the tables from deletion",
    ),
    Setting("LIVEINSIGHT_INGEST_HOST", "ingest_host", "127.0.0.1", _text, "address that ingest listens on"),
    Setting("LIVEINSIGHT_INGEST_PORT", "ingest_port", "8101", _at_least_one, "port that ingest listens on"),
    Setting(
        "LIVEINSIGHT_QUEUE_REQUESTS",
        "queue_requests",
        "224",
        _at_least_one,
        "requests that may wait for the stream in one ingest process, more are answered 503 at once; below its threads",
    ),
    Setting(
        "LIVEINSIGHT_QUEUE_BYTES",
        "queue_bytes",
        "33554432",
        _at_least_one,
        "bytes of events that may wait for the stream in one ingest process",
    ),
    Setting("LIVEINSIGHT_API_HOST", "api_host", "127.0.0.1", _text, "address that the API and the dashboard listen on"),
    Setting("LIVEINSIGHT_API_PORT", "api_port", "8100", _at_least_one, "port that the API and the dashboard listen on"),
    Setting("LIVEINSIGHT_DEMO_PORT", "demo_port", "8102", _at_least_one, "port of the demo site of `up`"),
    Setting(
        "LIVEINSIGHT_TRUSTED_PROXIES",
        "trusted_proxies",
        "0",
        _count,
        "how many reverse proxies in front of ingest add to X-Forwarded-For; 0 ignores the header",
    ),
    Setting(
        "LIVEINSIGHT_GEO_DB",
        "geo_db",
        "",
        _text,
        "MMDB file that gives countries and regions, such as DB-IP Lite or GeoLite2; empty takes the countries of the "
        "registries' lists, `off` none",
    ),
    Setting(
        "LIVEINSIGHT_DATACENTRES",
        "data_centres",
        "",
        _text,
        "file with a range of addresses a line (`192.0.2.0/24`) whose visitors are programs; empty knows of none",
    ),
    Setting(
        "LIVEINSIGHT_START_AT",
        "start_at",
        "TRIM_HORIZON",
        _start,
        "where a first start reads from: `TRIM_HORIZON` (all there is) or `LATEST`",
    ),
    Setting(
        "LIVEINSIGHT_POLL_INTERVAL",
        "poll_interval",
        "0.25",
        _seconds,
        "seconds between reads of a shard that is not behind; Kinesis allows five reads a second and shard",
    ),
    Setting(
        "LIVEINSIGHT_COUNTERS_INTERVAL",
        "counters_interval",
        "1",
        _seconds,
        "seconds between writes of totals and live minutes: freshness against cost",
    ),
    Setting(
        "LIVEINSIGHT_PREVIEWS_INTERVAL",
        "previews_interval",
        "5",
        _seconds,
        "seconds between previews of breakdowns and sessions, which show what waits to be written",
    ),
    Setting(
        "LIVEINSIGHT_SESSIONS_INTERVAL",
        "sessions_interval",
        "60",
        _seconds,
        "seconds between writes of breakdowns, sessions and checkpoints: cost against work done again after a crash",
    ),
    Setting(
        "LIVEINSIGHT_SESSION_DAYS",
        "session_days",
        "7",
        _at_least_one,
        "days that a visitor's state outlives its last event; above the stream's retention by two at least",
    ),
    Setting(
        "LIVEINSIGHT_TIMELINE_DAYS",
        "timeline_days",
        "30",
        _at_least_one,
        "days that the events of a session can be looked at",
    ),
    Setting(
        "LIVEINSIGHT_DEAD_LETTER_LIMIT",
        "dead_letter_limit",
        "0.2",
        _share,
        "share of a shard's last 100 records that may be undecodable before the worker stops; with 1 it never stops",
    ),
    Setting(
        "LIVEINSIGHT_DATA_DIR", "data_dir", ".liveinsight", _text, "folder where `up` keeps the local stand-in's state"
    ),
    Setting(
        "LIVEINSIGHT_LOCAL",
        "local",
        "false",
        _flag,
        "whether to find AWS on this machine, at LocalStack's standard place (`LOCALSTACK_HOST`, port 4566)",
    ),
    Setting("LIVEINSIGHT_LOG_LEVEL", "log_level", "INFO", str.upper, "least level of log lines on stderr"),
    Setting("AWS_ENDPOINT_URL", "endpoint_url", "", _text, "where AWS is, for all services; empty means the real one"),
    Setting("AWS_ENDPOINT_URL_KINESIS", "endpoint_url_kinesis", "", _text, "where Kinesis is, if elsewhere"),
    Setting("AWS_ENDPOINT_URL_DYNAMODB", "endpoint_url_dynamodb", "", _text, "where DynamoDB is, if elsewhere"),
    Setting("AWS_REGION", "region", "us-east-1", _text, "AWS region; `AWS_DEFAULT_REGION` is read when it is not set"),
)


@dataclass(frozen=True)
class Settings:
    """Settings with defaults filled in. See `SETTINGS` for what each one means."""

    sites: dict[str, ZoneInfo]
    stream_name: str
    shards: int
    table_prefix: str
    deletion_protection: bool
    ingest_host: str
    ingest_port: int
    queue_requests: int
    queue_bytes: int
    api_host: str
    api_port: int
    demo_port: int
    trusted_proxies: int
    geo_db: str
    data_centres: str
    start_at: StartAt
    poll_interval: float
    counters_interval: float
    previews_interval: float
    sessions_interval: float
    session_days: int
    timeline_days: int
    dead_letter_limit: float
    data_dir: str
    local: bool
    log_level: str
    endpoint_url: str
    endpoint_url_kinesis: str
    endpoint_url_dynamodb: str
    region: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from environment variables.

        Raises:
            SettingsError: names the variable and says what it takes.
        """
        known = {setting.variable for setting in SETTINGS}
        unknown = sorted(name for name in environ if name.startswith("LIVEINSIGHT_") and name not in known)
        if unknown:
            raise SettingsError(f"{unknown[0]} is not a setting; known are {', '.join(sorted(known))}")
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            text = environ.get(setting.variable, "") or setting.default
            try:
                values[setting.field] = setting.parse(text)
            except ValueError as error:
                raise SettingsError(f"{setting.variable}={text!r}: {error}") from error
        if not environ.get("AWS_REGION") and environ.get("AWS_DEFAULT_REGION"):
            values["region"] = environ["AWS_DEFAULT_REGION"]
        return cls(**values)
