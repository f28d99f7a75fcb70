"""boto3 clients: AWS, any endpoint, or a local stack found by localstack-client; and how often they are throttled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from localstack_client.config import get_service_endpoint

from liveinsight import __version__
from liveinsight.aws import botocore_codec
from liveinsight.settings import Settings

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_kinesis import KinesisClient

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "Throttling",
        "KMSThrottling",
        "LimitExceeded",
    }
)
"""Error codes without their suffix "Exception"."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def endpoint_of(settings: Settings, service: str) -> str:
    """The endpoint URL of ``kinesis`` or ``dynamodb``; "" means AWS itself.

    An explicit URL wins; with `LIVEINSIGHT_LOCAL` localstack-client says where the local stack is.
    """
    explicit = settings.endpoint_url_kinesis if service == "kinesis" else settings.endpoint_url_dynamodb
    if explicit or settings.endpoint_url:
        return explicit or settings.endpoint_url
    return get_service_endpoint(service) or "" if settings.local else ""


def is_local(url: str) -> bool:
    """Whether an endpoint is on this machine."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def _client(settings: Settings, service: str, read_timeout: float, attempts: int) -> BaseClient:
    url = endpoint_of(settings, service)
    config = Config(
        retries={"mode": "standard", "max_attempts": attempts},
        connect_timeout=2,
        read_timeout=read_timeout,
        max_pool_connections=32,
        # Our code is typed; botocore's checks cost a third of a call's CPU time.
        parameter_validation=False,
        # Otherwise botocore builds the name for each request: a tenth of its time.
        user_agent=f"LiveInsight/{__version__} Boto3/{boto3.__version__}",
    )
    session = boto3.Session(region_name=settings.region)
    if is_local(url) and session.get_credentials() is None:
        # The local AWS stack needs a signature and accepts any.
        session = boto3.Session("local", "local", region_name=settings.region)
    client: BaseClient = session.client(service, endpoint_url=url or None, config=config)  # type: ignore[call-overload]
    botocore_codec.install(client)
    return client


def kinesis_client(settings: Settings, *, attempts: int = 1, read_timeout: float = 5) -> KinesisClient:
    """A Kinesis client that retries a call at most `attempts` times."""
    return _client(settings, "kinesis", read_timeout, attempts)  # type: ignore[return-value]


def dynamodb_client(settings: Settings, *, attempts: int = 3) -> DynamoDBClient:
    """A DynamoDB client. All writes are conditional or idempotent, so it may retry."""
    return _client(settings, "dynamodb", 10, attempts)  # type: ignore[return-value]


def report_throttles(client: object, report: Callable[[int], object]) -> None:
    """Call `report` with the number of throttled parts of each answer that has any."""

    def look(parsed_response: dict[str, Any] | None, **_: object) -> None:
        if parsed_response and (count := throttled(parsed_response)):
            report(count)

    assert isinstance(client, BaseClient)
    client.meta.events.register("response-received", look)


def throttled(answer: dict[str, Any]) -> int:
    """Throttled parts of an answer: the request, statements of a batch, or unprocessed items."""
    responses = answer.get("Responses")
    parts = [answer, *(responses if isinstance(responses, list) else ())]
    codes = [part.get("Error", {}).get("Code", "").removesuffix("Exception") for part in parts]
    leftover = answer.get("UnprocessedKeys") or answer.get("UnprocessedItems")
    return sum(code in THROTTLED for code in codes) + bool(leftover)
