"""The closed list of machine-readable reasons of refusals, drops and failures."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Of a refusal (4xx), a drop (2xx, but not counted), or a failure (5xx)."""

    # The whole request.
    MALFORMED_JSON = "malformed_json"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_MANY_EVENTS = "too_many_events"
    NO_EVENTS = "no_events"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MISSING_KEY = "missing_key"
    UNKNOWN_RECEIPT = "unknown_receipt"

    # One event.
    WRONG_TYPE = "wrong_type"
    TOO_LONG = "too_long"
    OUT_OF_RANGE = "out_of_range"
    TOO_MANY_PROPS = "too_many_props"
    MISSING_FIELD = "missing_field"
    RESERVED_NAME = "reserved_name"
    UNKNOWN_SITE = "unknown_site"
    KEY_NOT_ALLOWED = "key_not_allowed"
    INVALID_ADDRESS = "invalid_address"
    INVALID_URL = "invalid_url"
    INVALID_TIMESTAMP = "invalid_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    TOO_OLD = "too_old"
    INVALID_REVENUE = "invalid_revenue"
    UNKNOWN_CURRENCY = "unknown_currency"
    RATE_LIMITED = "rate_limited"

    INVALID_EVENTS = "invalid_events"
    """All events of a request are refused, for several reasons."""

    # Dropped.
    BOT = "bot"
    DATA_CENTRE = "data_centre"
    DO_NOT_TRACK = "do_not_track"
    EXCLUDED_PATH = "excluded_path"
    EXCLUDED_ADDRESS = "excluded_address"

    # Failures.
    STREAM_UNAVAILABLE = "stream_unavailable"
    STREAM_REFUSED = "stream_refused"
    QUEUE_FULL = "queue_full"
    STORE_UNAVAILABLE = "store_unavailable"
    INTERNAL_ERROR = "internal_error"


MEANINGS: dict[Reason, str] = {
    Reason.MALFORMED_JSON: "the body is not valid JSON in UTF-8",
    Reason.TOO_DEEP: "the body is nested too deeply",
    Reason.TOO_LARGE: "the body is too large",
    Reason.TOO_MANY_EVENTS: "the request has too many events",
    Reason.NO_EVENTS: "the request has no events",
    Reason.UNSUPPORTED_MEDIA_TYPE: "the content type is neither application/json nor text/plain",
    Reason.UNSUPPORTED_ENCODING: "the body is compressed",
    Reason.ORIGIN_NOT_ALLOWED: "pages of this origin may not send events here",
    Reason.BAD_REQUEST: "the request is invalid in another way",
    Reason.NOT_FOUND: "there is no such path",
    Reason.METHOD_NOT_ALLOWED: "the path has no such method; Allow lists its methods",
    Reason.MISSING_KEY: "the request has no API key",
    Reason.UNKNOWN_RECEIPT: "unknown receipt or id, or one of another key",
    Reason.WRONG_TYPE: "a field has the wrong type",
    Reason.TOO_LONG: "a field is too long",
    Reason.OUT_OF_RANGE: "a number is out of range",
    Reason.TOO_MANY_PROPS: "there are too many properties",
    Reason.MISSING_FIELD: "a field is missing",
    Reason.RESERVED_NAME: "event types that start with $ are reserved",
    Reason.UNKNOWN_SITE: "there is no such site",
    Reason.KEY_NOT_ALLOWED: "the API key is not one of the site's",
    Reason.INVALID_ADDRESS: "the client address is neither IPv4 nor IPv6",
    Reason.INVALID_URL: "the page's URL is neither http(s) nor a path",
    Reason.INVALID_TIMESTAMP: "a time is neither epoch milliseconds nor ISO 8601",
    Reason.FUTURE_TIMESTAMP: "the event lies in the future",
    Reason.TOO_OLD: "the event is too old",
    Reason.INVALID_REVENUE: "the amount is not a valid amount of money",
    Reason.UNKNOWN_CURRENCY: "the currency is not in ISO 4217",
    Reason.RATE_LIMITED: "too many events from this address or for this site: retry later",
    Reason.INVALID_EVENTS: "all events are refused, for several reasons",
    Reason.BOT: "the visitor is a bot",
    Reason.DATA_CENTRE: "the visitor's address belongs to a data centre",
    Reason.DO_NOT_TRACK: "the visitor asks not to be tracked, and the site does not count such visitors",
    Reason.EXCLUDED_PATH: "the site does not count this page",
    Reason.EXCLUDED_ADDRESS: "the site does not count visitors from this address",
    Reason.STREAM_UNAVAILABLE: "the stream does not take events: retry",
    Reason.QUEUE_FULL: "too many requests wait for the stream: retry",
    Reason.STREAM_REFUSED: "the stream is misconfigured, operator action required: retry later",
    Reason.STORE_UNAVAILABLE: "the store does not answer: retry",
    Reason.INTERNAL_ERROR: "an internal error; the log has it under the request's id",
}
"""The meaning of each reason, for the OpenAPI document."""
