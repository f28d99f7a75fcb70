"""The two files that the Java daemon reads, as text made from the settings. Nothing is looked up here.

The time-outs are ordered so that the gentler end comes first:

    drain_within  <  shutdownGraceMillis  <  KILL_AFTER        a stop: write, checkpoint, exit, or be killed
    drain_within  <  gracefulLeaseHandoffTimeoutMillis         a shard moves to another worker
    give_up_after  <  timeoutInSeconds                         the tables are gone: the child exits by itself first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liveinsight.aws.kcl_tables import lease_table
from liveinsight.model.errors import SettingsError
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST
from liveinsight.storage.stream import StartAt

MAX_RECORDS = 2_000
"""Records per read: bounds the line of JSON that a batch becomes."""
MOST_RECORDS = 10_000
"""Kinesis gives no more in one read."""
LEAST_IDLE_MS = 200
"""Kinesis allows five reads a second and shard."""
GRACE_MS = 25_000
"""Time for the record processors to write and checkpoint at a stop. The library's default is none."""
HANDOFF_MS = 30_000
CHILD_TIMEOUT_SECONDS = 900
"""A child that does not answer for so long hangs. When the tables are gone, it exits long before."""
SLOW_TASK_MS = 60_000
SHARD_SYNC_MS = 5_000
"""Pause of the library between two listings of the shards. Its default is a minute."""

DERIVED = frozenset({"executableName", "streamName", "streamArn", "applicationName", "tableName"})
"""Properties that counting depends on: derived from the settings, and not to be changed."""
DEFAULTS: Mapping[str, str] = {
    "AwsCredentialsProvider": "DefaultCredentialsProvider",
    "processingLanguage": "python",
    # The library's default is enhanced fan-out, which costs extra.
    "retrievalMode": "POLLING",
    "maxRecords": str(MAX_RECORDS),
    # Empty batches are the ticks on which a quiet shard is flushed.
    "callProcessRecordsEvenForEmptyRecordList": "true",
    "metricsLevel": "NONE",
    "shutdownGraceMillis": str(GRACE_MS),
    "gracefulLeaseHandoffTimeoutMillis": str(HANDOFF_MS),
    "timeoutInSeconds": str(CHILD_TIMEOUT_SECONDS),
    "logWarningForTaskAfterMillis": str(SLOW_TASK_MS),
    "shardSyncIntervalMillis": str(SHARD_SYNC_MS),
}
"""Properties that every worker has, unless they are changed."""


def daemon_properties(
    settings: Settings,
    *,
    command: str,
    worker_id: str,
    generation: int,
    kinesis_endpoint: str,
    dynamodb_endpoint: str,
    changes: Sequence[str] = (),
) -> dict[str, str]:
    """The daemon's properties.

    Args:
        settings: of this worker.
        command: what the daemon runs for each shard.
        worker_id: a name that no other worker has.
        generation: of the counters.
        kinesis_endpoint: a URL, or "" for AWS itself.
        dynamodb_endpoint: likewise.
        changes: ``name=value`` each, taken last.

    Raises:
        SettingsError: a change is not allowed or not of that form.
    """
    # LATEST is about the first start of the product: a rebuild reads everything.
    start_at = settings.start_at if generation == FIRST else StartAt.TRIM_HORIZON
    derived = {
        "executableName": command,
        "streamName": settings.stream_name,
        "applicationName": lease_table(settings.table_prefix, generation),
        "workerId": worker_id,
        "regionName": settings.region,
        "initialPositionInStream": start_at.value,
        "idleTimeBetweenReadsInMillis": str(max(LEAST_IDLE_MS, round(settings.poll_interval * 1000))),
        "kinesisEndpoint": kinesis_endpoint,
        "dynamoDBEndpoint": dynamodb_endpoint,
    }
    return {**DEFAULTS, **{name: value for name, value in derived.items() if value}, **_changes(changes)}


def _changes(changes: Sequence[str]) -> dict[str, str]:
    taken = {}
    for change in changes:
        name, equals, value = (part.strip() for part in change.partition("="))
        if not name.isidentifier() or not equals or not value:
            raise SettingsError(f"--kcl {change!r}: use NAME=VALUE, such as --kcl failoverTimeMillis=5000")
        if name in DERIVED:
            raise SettingsError(f"--kcl {change!r}: {name} follows from the settings LIVEINSIGHT_*")
        if name == "maxRecords" and not (value.isdigit() and 1 <= int(value) <= MOST_RECORDS):
            raise SettingsError(f"--kcl {change!r}: a read gives 1 to {MOST_RECORDS} records")
        taken[name] = value
    return taken


def grace_seconds(properties: Mapping[str, str]) -> float:
    """For how long the daemon may take to stop.

    Raises:
        SettingsError: it is not a number.
    """
    text = properties["shutdownGraceMillis"]
    if not text.isdigit():
        raise SettingsError(f"shutdownGraceMillis={text!r}: use milliseconds, such as {GRACE_MS}")
    return int(text) / 1000


def properties_text(properties: Mapping[str, str]) -> str:
    """As Java's ``Properties.load`` reads it: plain ASCII, with backslashes and control characters escaped."""
    return "".join(f"{name} = {_escaped(value)}\n" for name, value in properties.items())


def _escaped(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return "".join(
        char if char.isascii() else "".join(f"\\u{unit.hex()}" for unit in _utf16_units(char)) for char in escaped
    )


def _utf16_units(char: str) -> list[bytes]:
    encoded = char.encode("utf-16-be")
    return [encoded[at : at + 2] for at in range(0, len(encoded), 2)]


def logback_text(log_level: str) -> str:
    """A logback file: JSON lines on stderr. What a child writes to stderr is passed on as it is, once.

    The library logs five lines for every batch and more for every look at its leases, so it is a level quieter. Two of
    its classes warn of what is no harm here: aggregates after a split, and metrics that are off.
    """
    library = {"DEBUG": "INFO", "INFO": "WARN", "WARNING": "WARN"}.get(log_level, "ERROR")
    return f"""<configuration>
  <statusListener class="ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="STDERR" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder class="ch.qos.logback.classic.encoder.JsonEncoder"/>
  </appender>
  <logger name="software.amazon.kinesis" level="{library}"/>
  <logger name="software.amazon.kinesis.multilang.DrainChildSTDERRTask" level="OFF"/>
  <logger name="software.amazon.kinesis.lifecycle.ProcessTask" level="ERROR"/>
  <logger name="software.amazon.kinesis.metrics.CloudWatchPublisherRunnable" level="ERROR"/>
  <root level="{"ERROR" if library == "ERROR" else "WARN"}">
    <appender-ref ref="STDERR"/>
  </root>
</configuration>
"""
