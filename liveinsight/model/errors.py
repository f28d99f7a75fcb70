"""All errors, and what the catcher should do about each.

LiveInsightError
|-- SettingsError          the operator must change a setting; the message says which
|-- InvalidPayload         refuse: 4xx with a machine-readable reason
|-- UndecodableRecord      dead-letter: keep the record, go on with the shard
|-- StreamUnavailable      retry, then 503 (ingest) or wait (worker)
|-- StreamRefused          503 (ingest) or crash (worker): operator action required on access, name or key
|-- IteratorExpired        take a new iterator after the last sequence number
|-- StoreUnavailable       retry; what was not written stays pending
|-- TooManyDeadLetters     crash: operator action required, nothing is lost
`-- FlushAbandoned         crash: the process must exit before a checkpoint passes the flush
"""

from __future__ import annotations


class LiveInsightError(Exception):
    """Base class: catch it only where a program ends."""


class SettingsError(LiveInsightError):
    """A setting is missing or malformed."""


class InvalidPayload(LiveInsightError):
    """A request or one of its events is refused.

    Args:
        reason: stable machine-readable word, e.g. ``too_large``.
        message: one sentence for a person.
        status: HTTP status that fits the refusal.
        field: the payload field at fault, when there is one.
        retry_after: seconds after which it may be taken, when that is known.
    """

    def __init__(
        self, reason: str, message: str, *, status: int = 400, field: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.field = field
        self.retry_after = retry_after


class UndecodableRecord(LiveInsightError):
    """A stream record is in another format, or damaged."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StreamUnavailable(LiveInsightError):
    """The stream did not take or give records; try again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StreamRefused(LiveInsightError):
    """The stream refuses requests until an operator corrects access, its name or its key."""


class IteratorExpired(LiveInsightError):
    """A shard iterator is older than its five minutes."""


class StoreUnavailable(LiveInsightError):
    """The store did not answer, or throttled beyond the adapter's own retries."""


class TooManyDeadLetters(LiveInsightError):
    """More of a shard's last records could not be decoded than the limit allows; the message says what to do."""


class FlushAbandoned(LiveInsightError):
    """A flush could not be completed in time; only a replay from the last checkpoint is safe."""


def no_answer(service: str, problem: str) -> str:
    """The message for a request to AWS without an answer, with the fix where there is one.

    Args:
        service: its usual name.
        problem: name of the client library's error.
    """
    if "Credentials" in problem:
        return (
            f"{service} cannot be asked without credentials ({problem}): name them as boto3 finds them, or set "
            "AWS_ENDPOINT_URL to the URL of a local AWS stack (`liveinsight up` prints it)"
        )
    return f"{service} did not answer: {problem}"
