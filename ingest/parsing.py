"""The body of a request becomes payloads.

In: bytes. Out: one entry per event, in order: a `Payload`, or the `InvalidPayload` that says why not.
Raises `InvalidPayload` when the body as a whole is at fault. No input makes it raise anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ingest.limits import MAX_BODY_BYTES, MAX_EVENTS
from ingest.payload import Payload
from ingest.reasons import Reason
from liveinsight.errors import InvalidPayload

Parsed = Payload | InvalidPayload


class _Body(Payload):
    # A single event and {"events": [...]} differ in one key only, so one pass decodes both.
    events: list[Payload] | msgspec.UnsetType | None = msgspec.UNSET


class _RawBody(msgspec.Struct):
    events: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


_list_decoder = msgspec.json.Decoder(list[Payload])
_body_decoder = msgspec.json.Decoder(_Body)
_raw_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_raw_body_decoder = msgspec.json.Decoder(_RawBody)
_payload_decoder = msgspec.json.Decoder(Payload)

_FIELD = re.compile(r"\$\.([a-z_.]+)")


def parse(body: bytes) -> list[Parsed]:
    """The payloads of a request body: one object, an array of them, or ``{"events": [...]}``."""
    if len(body) > MAX_BODY_BYTES:
        message = f"the body is larger than {MAX_BODY_BYTES} bytes"
        raise InvalidPayload(Reason.TOO_LARGE, message, status=413)
    try:
        # msgspec does not look into strings that it skips; they must be UTF-8 all the same.
        text = body.decode()
        try:
            parsed = _parse_all(text)
        except msgspec.ValidationError:
            parsed = _parse_each(text)
    except UnicodeDecodeError as error:
        raise InvalidPayload(Reason.MALFORMED_JSON, "the body is not UTF-8") from error
    except RecursionError as error:
        raise InvalidPayload(Reason.TOO_DEEP, "the body is nested too deeply") from error
    except msgspec.ValidationError as error:
        raise _refusal(error) from error
    except msgspec.DecodeError as error:
        raise InvalidPayload(Reason.MALFORMED_JSON, "the body is not valid JSON") from error
    if not parsed:
        raise InvalidPayload(Reason.NO_EVENTS, "the body holds no events")
    if len(parsed) > MAX_EVENTS:
        raise _too_many()
    return parsed


def payload_from(fields: Mapping[str, Any]) -> Payload:
    """A payload from a mapping with the payload's field names, under the same rules as one from a browser.

    Raises:
        InvalidPayload: names the field at fault.
    """
    try:
        return msgspec.convert(fields, Payload)
    except msgspec.ValidationError as error:
        raise _refusal(error) from error


def _too_many() -> InvalidPayload:
    message = f"more than {MAX_EVENTS} events in one request"
    return InvalidPayload(Reason.TOO_MANY_EVENTS, message, status=413)


def _parse_all(text: str) -> list[Parsed]:
    if text.lstrip()[:1] == "[":
        return list(_list_decoder.decode(text))
    body = _body_decoder.decode(text)
    return list(body.events) if body.events else [] if _says_events(body.events) else [body]


def _parse_each(text: str) -> list[Parsed]:
    """The slow way, for bodies with a bad event: each on its own, so that it does not spoil the others."""
    if text.lstrip()[:1] == "[":
        raw = _raw_list_decoder.decode(text)
    else:
        events = _raw_body_decoder.decode(text).events
        raw = [msgspec.Raw(text)] if not _says_events(events) else events or []
    if len(raw) > MAX_EVENTS:
        raise _too_many()
    return [_parse_one(event) for event in raw]


def _says_events(events: object) -> bool:
    return events is not msgspec.UNSET and events is not None


def _parse_one(event: msgspec.Raw) -> Parsed:
    try:
        return _payload_decoder.decode(event)
    except msgspec.ValidationError as error:
        return _refusal(error)


def _refusal(error: msgspec.ValidationError) -> InvalidPayload:
    # The decoder's messages name types, lengths and our own fields, never what the payload holds.
    expected, _, place = str(error).partition(" - at ")
    found = _FIELD.search(place)
    field = found[1] if found else ""
    if "`object` of length" in expected:
        return InvalidPayload(Reason.TOO_MANY_PROPS, expected, field=field)
    if "of length" in expected:
        return InvalidPayload(Reason.TOO_LONG, expected, field=field)
    if "out of range" in expected:
        return InvalidPayload(Reason.OUT_OF_RANGE, expected, field=field)
    return InvalidPayload(Reason.WRONG_TYPE, expected, field=field)
