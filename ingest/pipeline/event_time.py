"""When an event happened by the server's clock, from the browser's times.

with sent_at       occurred = received - (sent_at - timestamp): the browser's clock may be wrong, the
                   difference of two of its readings is not; a negative difference counts as none
without            occurred = timestamp; a little in the future is now, far in the future is refused
without timestamp  occurred = received
"""

from __future__ import annotations

from datetime import UTC, datetime

from ingest.contract.limits import LAST_TIMESTAMP_MS, MAX_FUTURE_MS
from ingest.contract.reasons import Reason
from liveinsight.model.errors import InvalidPayload

Time = int | float | str
"""Epoch milliseconds, or ISO 8601 text."""


def occurred_at(timestamp: Time | None, sent_at: Time | None, received_at: int, max_age_ms: int | None) -> int:
    """When the event happened, epoch ms; `max_age_ms` None takes any age.

    Raises:
        InvalidPayload: ``invalid_timestamp``, ``future_timestamp`` or ``too_old``.
    """
    if timestamp is None:
        return received_at
    claimed = _epoch_ms(timestamp, "timestamp")
    if sent_at is not None:
        waited = _epoch_ms(sent_at, "sent_at") - claimed
        occurred = received_at - waited if waited > 0 else received_at
    elif claimed > received_at + MAX_FUTURE_MS:
        raise InvalidPayload(Reason.FUTURE_TIMESTAMP, "the event lies in the future", field="timestamp")
    else:
        occurred = min(claimed, received_at)
    if max_age_ms is not None and received_at - occurred > max_age_ms:
        raise InvalidPayload(
            Reason.TOO_OLD, f"the event is older than {max_age_ms // 3_600_000} hours", field="timestamp"
        )
    if occurred < 0:
        raise InvalidPayload(Reason.INVALID_TIMESTAMP, "the event lies before 1970", field="timestamp")
    return occurred


def _epoch_ms(time: Time, field: str) -> int:
    if isinstance(time, str):
        time = _from_text(time, field)
    if not 0 <= time <= LAST_TIMESTAMP_MS:
        raise InvalidPayload(Reason.INVALID_TIMESTAMP, "use epoch milliseconds or ISO 8601", field=field)
    return time if isinstance(time, int) else round(time)


def _from_text(text: str, field: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidPayload(Reason.INVALID_TIMESTAMP, "use epoch milliseconds or ISO 8601", field=field) from error
    # The browser's time zone is unknown, so a time without an offset is UTC.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp() * 1000
