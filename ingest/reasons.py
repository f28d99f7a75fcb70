"""Why something was not counted: the closed list of machine-readable reasons."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A refusal (4xx), a drop (2xx, but not counted), or a failure of ours (5xx)."""

    # The whole request.
    MALFORMED_JSON = "malformed_json"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_MANY_EVENTS = "too_many_events"
    NO_EVENTS = "no_events"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"

    # One event.
    WRONG_TYPE = "wrong_type"
    TOO_LONG = "too_long"
    OUT_OF_RANGE = "out_of_range"
    TOO_MANY_PROPS = "too_many_props"
    MISSING_FIELD = "missing_field"
    RESERVED_NAME = "reserved_name"
    UNKNOWN_SITE = "unknown_site"
    INVALID_URL = "invalid_url"
    INVALID_TIMESTAMP = "invalid_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    TOO_OLD = "too_old"
    INVALID_REVENUE = "invalid_revenue"
    UNKNOWN_CURRENCY = "unknown_currency"

    INVALID_EVENTS = "invalid_events"
    """All events of a request were refused, for several reasons."""

    # Dropped.
    BOT = "bot"

    # Ours.
    STREAM_UNAVAILABLE = "stream_unavailable"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL_ERROR = "internal_error"
