"""Creates the stream, the tables and the first sites. Safe to repeat: what exists is kept.

In: settings. Out: what was created, line by line. `liveinsight init` and `liveinsight up` both start here.
"""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from liveinsight.aws.clients import dynamodb_client, endpoint_of, kinesis_client
from liveinsight.aws.schema import TableNames, create_all
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.sites.repository import create_missing
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
