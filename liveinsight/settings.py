"""All settings, as one class: the only place that knows environment variables.

In: the environment. Out: `Settings`. A test compares docs/settings.md with `SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import NODEFAULT, Meta, Struct, convert, field
from msgspec.structs import fields

from liveinsight.model.errors import SettingsError
from liveinsight.sites.rules import site_name, time_zone
from liveinsight.storage.stream import StartAt

_PREFIX = "LIVEINSIGHT_"
DATA_DIR = ".liveinsight"
BACKEND_VARIABLES = (
    "LIVEINSIGHT_BACKEND",
    "LIVEINSIGHT_LOCAL",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_KINESIS",
    "AWS_ENDPOINT_URL_DYNAMODB",
)
"""The variables that choose the backend."""
STATE_DAYS_MORE = 2
"""How many days a visitor's state is kept longer than the records that it was made from."""


def _sites(text: str) -> dict[str, ZoneInfo]:
    sites = {}
    for part in text.replace(",", " ").split():
        name, _, zone = part.partition("=")
        sites[site_name(name)] = ZoneInfo(time_zone(zone or "UTC"))
    if not sites:
        raise ValueError("name at least one site")
    return sites


class BackendKind(Enum):
    """Where events are kept and counted."""

    AUTO = "auto"
    SQLITE = "sqlite"
    AWS = "aws"


def _flag(text: str) -> str:
    return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text)


# A function in an annotation prepares the text of the variable for msgspec.
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.05, le=3600)]
Flag = Annotated[bool, _flag]


def _doc(meaning: str) -> Meta:
    return Meta(description=meaning)


def _variable(name: str) -> str:
    if name.startswith(("endpoint_url", "region")):
        return "AWS_" + name.upper()
    return _PREFIX + {"stream_name": "STREAM", "data_centres": "DATACENTRES"}.get(name, name.upper())


class Settings(Struct, frozen=True, kw_only=True, rename=_variable):
    """All settings: type, meaning and default of each. Its environment variable is the field's name in upper case."""

    sites: Annotated[
        dict[str, ZoneInfo],
        _doc(
            "sites that `init` and `up` create at the first start: `name=Area/City`, separated by spaces, default first"
        ),
        _sites,
    ] = field(default_factory=lambda: {"default": ZoneInfo("UTC")})
    backend: Annotated[
        BackendKind,
        _doc(
            "where events are kept and counted: `sqlite` (files in the data folder), `aws` (Kinesis and DynamoDB), or "
            "`auto`: AWS if an endpoint or `LIVEINSIGHT_LOCAL` is set, otherwise SQLite"
        ),
        str.lower,
    ] = BackendKind.AUTO
    stream_name: Annotated[str, _doc("name of the Kinesis stream")] = "liveinsight-events"
    shards: Annotated[Positive, _doc("number of shards of the stream that `init` creates")] = 2
    stream_days: Annotated[
        Positive, _doc("days that the stream keeps records on SQLite; those that are not counted yet stay longer")
    ] = 3
    table_prefix: Annotated[str, _doc("prefix of the names of the DynamoDB tables")] = "liveinsight"
    deletion_protection: Annotated[Flag, _doc("whether `init` protects the tables from deletion")] = False
    ingest_host: Annotated[str, _doc("address that ingest listens on")] = "127.0.0.1"
    ingest_port: Annotated[Positive, _doc("port that ingest listens on")] = 8101
    queue_requests: Annotated[
        Positive,
        _doc("requests that may wait for the stream in one ingest process, others get 503; less than its threads"),
    ] = 224
    queue_bytes: Annotated[
        Positive, _doc("bytes of events that may wait for the stream in one ingest process, others get 503")
    ] = 32 << 20
    api_host: Annotated[str, _doc("address that the API and the dashboard listen on")] = "127.0.0.1"
    api_port: Annotated[Positive, _doc("port that the API and the dashboard listen on")] = 8100
    demo_port: Annotated[Positive, _doc("port of the demo site of `up`")] = 8102
    trusted_proxies: Annotated[
        int, Meta(ge=0), _doc("number of reverse proxies in front of ingest; 0 ignores X-Forwarded-For")
    ] = 0
    geo_db: Annotated[
        str,
        _doc(
            "MMDB file for countries and regions (DB-IP, GeoLite2); empty: countries by address registry; `off`: none"
        ),
    ] = ""
    data_centres: Annotated[
        str, _doc("file with one address range a line (`192.0.2.0/24`): visitors from these addresses are bots")
    ] = ""
    start_at: Annotated[
        StartAt, _doc("where the first start begins to read: `TRIM_HORIZON` (oldest record) or `LATEST`"), str.upper
    ] = StartAt.TRIM_HORIZON
    poll_interval: Annotated[
        Seconds, _doc("seconds between reads of a shard without backlog; Kinesis allows five reads a second")
    ] = 0.25
    counters_interval: Annotated[
        Seconds, _doc("seconds between writes of totals and live minutes: freshness against cost")
    ] = 1
    previews_interval: Annotated[
        Seconds, _doc("seconds between previews of breakdowns and sessions that are not written yet")
    ] = 5
    sessions_interval: Annotated[
        Seconds,
        _doc("seconds between writes of breakdowns, sessions and checkpoints: cost against replay after a crash"),
    ] = 60
    session_days: Annotated[
        Positive, _doc("days to keep a visitor's state; at least two more than the stream keeps records")
    ] = 7
    timeline_days: Annotated[Positive, _doc("days to keep the events of a session")] = 30
    dead_letter_limit: Annotated[
        float,
        Meta(ge=0, le=1),
        _doc("share of undecodable records among the last 100 of a shard that stops the worker; with 1 it never stops"),
    ] = 0.2
    metrics_host: Annotated[str, _doc("address at which the worker serves `/metrics`")] = "127.0.0.1"
    metrics_port: Annotated[int, Meta(ge=0), _doc("port at which the worker serves `/metrics`; 0: not at all")] = 0
    data_dir: Annotated[str, _doc("folder for the state and logs of `up` and `local`")] = DATA_DIR
    local: Annotated[
        Flag, _doc("whether AWS is LocalStack on this machine, at its standard address (`LOCALSTACK_HOST`, port 4566)")
    ] = False
    log_level: Annotated[str, _doc("lowest level of log lines on stderr"), str.upper] = "INFO"
    endpoint_url: Annotated[str, _doc("endpoint of all AWS services; empty: AWS itself")] = ""
    endpoint_url_kinesis: Annotated[str, _doc("endpoint of Kinesis, if it differs")] = ""
    endpoint_url_dynamodb: Annotated[str, _doc("endpoint of DynamoDB, if it differs")] = ""
    region: Annotated[str, _doc("AWS region; `AWS_DEFAULT_REGION` is read when it is not set")] = "us-east-1"

    @property
    def on_aws(self) -> bool:
        """Whether the backend is Kinesis and DynamoDB, of AWS or of a local stack."""
        if self.backend is not BackendKind.AUTO:
            return self.backend is BackendKind.AWS
        endpoints = self.endpoint_url or self.endpoint_url_kinesis or self.endpoint_url_dynamodb
        return bool(endpoints) or self.local

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from environment variables.

        Raises:
            SettingsError: names the variable and says what it takes.
        """
        known = {setting.variable for setting in SETTINGS}
        unknown = sorted(name for name in environ if name.startswith(_PREFIX) and name not in known)
        if unknown:
            raise SettingsError(f"{unknown[0]} is not a setting; known are {', '.join(sorted(known))}")
        environ = {"AWS_REGION": environ.get("AWS_DEFAULT_REGION", ""), **{k: v for k, v in environ.items() if v}}
        texts = ((setting, environ.get(setting.variable, "").strip()) for setting in SETTINGS)
        settings = cls(**{setting.name: setting.read(text) for setting, text in texts if text})
        if not settings.on_aws and settings.session_days < settings.stream_days + STATE_DAYS_MORE:
            raise SettingsError(
                f"LIVEINSIGHT_SESSION_DAYS={settings.session_days} must be at least {STATE_DAYS_MORE} more than "
                f"LIVEINSIGHT_STREAM_DAYS={settings.stream_days}: a record that is read again needs its visitor's state"
            )
        return settings


class Setting(NamedTuple):
    """A setting: its field of `Settings`, and what documents say about it."""

    name: str
    variable: str
    default: str
    meaning: str
    annotation: Any

    def read(self, text: str) -> Any:
        """The value of a variable.

        Raises:
            SettingsError: names the variable and says what it takes.
        """
        value: Any = text
        try:
            for prepare in filter(callable, self.annotation.__metadata__):
                value = prepare(value)
            return convert(value, self.annotation, strict=False)
        except ValueError as error:
            problem = str(error).removesuffix(", got `str`")
            raise SettingsError(f"{self.variable}={text!r}: {problem} ({self.meaning})") from error


def _default_text(value: object) -> str:
    match value:
        case dict():
            return " ".join(f"{name}={zone}" for name, zone in value.items())
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
    return str(value)


def _settings() -> list[Setting]:
    found = []
    for each in fields(Settings):
        (meaning,) = (meta.description for meta in each.type.__metadata__ if getattr(meta, "description", ""))
        default = each.default if each.default is not NODEFAULT else each.default_factory()
        found.append(Setting(each.name, each.encode_name, _default_text(default), meaning, each.type))
    return found


SETTINGS = _settings()
"""In the order of the fields."""
