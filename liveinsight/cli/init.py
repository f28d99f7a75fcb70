"""`liveinsight init`: create the stream and the tables, or update them."""

from __future__ import annotations

import os

import click

from liveinsight.bootstrap import initialise
from liveinsight.settings import Settings


@click.command()
def command() -> None:
    """Create the Kinesis stream, the two DynamoDB tables, and the sites of LIVEINSIGHT_SITES.

    Safe to repeat: what exists is kept, and deletion protection is set as LIVEINSIGHT_DELETION_PROTECTION says. Change
    sites later with `liveinsight site`. Names and shards come from LIVEINSIGHT_STREAM, LIVEINSIGHT_SHARDS and
    LIVEINSIGHT_TABLE_PREFIX; without AWS_ENDPOINT_URL it is the real AWS.

    \b
    Example:
      LIVEINSIGHT_SITES='shop=Europe/Berlin blog' liveinsight init
    """
    for line in initialise(Settings.from_env(os.environ)):
        click.echo(line)
