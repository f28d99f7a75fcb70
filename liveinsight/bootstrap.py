"""Creates the stream, the tables and the first sites. Safe to repeat: what exists is kept.

In: settings. Out: a line of text for each resource. `init`, `up` and `local` call it.
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
    """Create what is missing; returns a line of text for each resource.

    Raises:
        LiveInsightError: AWS does not answer, or refuses.
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
        created = create_missing(open_store(settings), settings.sites)
        return [*done, *(f"site {name} created with time zone {settings.sites[name]}" for name in created)]
    except (BotoCoreError, ClientError) as error:
        where = endpoint_of(settings, "dynamodb") or f"AWS in {settings.region}"
        raise LiveInsightError(f"{where}: {error}") from error
