"""`liveinsight init`: create the stream and the tables, or bring them into line."""

from __future__ import annotations

import argparse
import os
import sys

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.aws import dynamodb_client, endpoint_of, kinesis_client
from liveinsight.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.site_store import create_missing
from liveinsight.tables import TableNames, create_all
from liveinsight.wiring import open_store


def initialise(settings: Settings) -> list[str]:
    """Create what is missing, sites included; returns what was done, line by line.

    Raises:
        LiveInsightError: AWS did not answer or refused.
    """
    try:
        done = list(
            create_all(
                kinesis_client(settings, attempts=5),
                dynamodb_client(settings, attempts=5),
                stream_name=settings.stream_name,
                shards=settings.shards,
                names=TableNames.with_prefix(settings.table_prefix),
                deletion_protection=settings.deletion_protection,
            )
        )
        made = create_missing(open_store(settings), settings.sites)
        return [*done, *(f"site {name}: made, with time zone {settings.sites[name]}" for name in made)]
    except (BotoCoreError, ClientError) as error:
        where = endpoint_of(settings, "dynamodb") or f"AWS in {settings.region}"
        raise LiveInsightError(f"{where}: {error}") from error


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="liveinsight init",
        description="Create the Kinesis stream and the two DynamoDB tables, with expiry switched on. "
        "Make the sites of LIVEINSIGHT_SITES that have never been; what is changed about them later is up to "
        "`liveinsight site`. Safe to run again: what exists is kept, and deletion protection is set as the setting "
        "says.",
        epilog="Names, shards and protection come from LIVEINSIGHT_STREAM, LIVEINSIGHT_SHARDS, "
        "LIVEINSIGHT_TABLE_PREFIX and LIVEINSIGHT_DELETION_PROTECTION; the place from AWS_ENDPOINT_URL or AWS itself.",
    )
    parser.parse_args(arguments)
    for line in initialise(Settings.from_env(os.environ)):
        sys.stdout.write(f"{line}\n")
    return 0
