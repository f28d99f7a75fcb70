"""The body of a request becomes payloads.

In: bytes. Out: one entry per event, in order: a `Payload`, or the `InvalidPayload` that says why not.
Raises `InvalidPayload` when the body as a whole is at fault. No input makes it raise anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from ingest.contract.limits import MAX_BODY_BYTES, MAX_EVENTS
from ingest.contract.reasons import Reason
from ingest.pipeline.payload import Payload
from liveinsight.model.errors import InvalidPayload

Parsed = Payload | InvalidPayload
P = TypeVar("P", bound=Payload)


_FIELD = re.compile(r"\$\.([a-z_.]+)")


class _RawBody(msgspec.Struct):
    events: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


_raw_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_raw_body_decoder = msgspec.json.Decoder(_RawBody)


class BodyParser(Generic[P]):
    """Finds the payloads of a request body: one object, an array of them, or ``{"events": [...]}``."""

    def __init__(self, payload: type[P]) -> None:
        # A single event and {"events": [...]} differ in one key only, so one pass decodes both.
        events = list[payload] | msgspec.UnsetType | None  # type: ignore[valid-type]
        body = msgspec.defstruct("_Body", [("events", events, msgspec.UNSET)], bases=(payload,), kw_only=True, gc=False)
        self._list_decoder = msgspec.json.Decoder(list[payload])  # type: ignore[valid-type]
        self._body_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)
        self._payload_decoder = msgspec.json.Decoder(payload)

    def __call__(self, body: bytes) -> list[P | InvalidPayload]:
        """The payloads, each valid or refused by itself.

        Raises:
            InvalidPayload: the body as a whole is refused.
        """
        if len(body) > MAX_BODY_BYTES:
            message = f"the body is larger than {MAX_BODY_BYTES} bytes"
            raise InvalidPayload(Reason.TOO_LARGE, message, status=413)
        try:
            # msgspec does not check the strings of fields that it skips, so decode first.
            text = body.decode()
            try:
                parsed = self._parse_all(text)
            except msgspec.ValidationError:
                parsed = self._parse_each(text)
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

    def _parse_all(self, text: str) -> list[P | InvalidPayload]:
        if text.lstrip()[:1] == "[":
            return list(self._list_decoder.decode(text))
        body = self._body_decoder.decode(text)
        return list(body.events) if body.events else [] if _says_events(body.events) else [body]

    def _parse_each(self, text: str) -> list[P | InvalidPayload]:
        """The slow path, for bodies with an invalid event: decode each by itself, so that the others are kept."""
        if text.lstrip()[:1] == "[":
            raw = _raw_list_decoder.decode(text)
        else:
            events = _raw_body_decoder.decode(text).events
            raw = [msgspec.Raw(text)] if not _says_events(events) else events or []
        if len(raw) > MAX_EVENTS:
            raise _too_many()
        return [self._parse_one(event) for event in raw]

    def _parse_one(self, event: msgspec.Raw) -> P | InvalidPayload:
        try:
            return self._payload_decoder.decode(event)
        except msgspec.ValidationError as error:
            return _refusal(error)


parse = BodyParser(Payload)
"""The payloads of a browser's request."""


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


def _says_events(events: object) -> bool:
    return events is not msgspec.UNSET and events is not None


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
