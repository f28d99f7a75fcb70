"""Query parameters: reading and checking them by their declarations, which the OpenAPI document shows.

In: declared parameters and a query string. Out: values of the declared types, with defaults. Promises: a value is
refused exactly when it does not fit its JSON schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.datastructures import MultiDict

from liveinsight.model.errors import InvalidPayload
from liveinsight.runtime.openapi import Parameter

Values = Mapping[str, Any]
"""Parsed parameters by name; None for a missing one without a default."""

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_SHOWN = 60


def whole_number(name: str, least: int, most: int, default: int, meaning: str) -> Parameter:
    """A parameter for whole numbers from `least` to `most`."""
    return Parameter(name, {"type": "integer", "minimum": least, "maximum": most}, meaning, default)


def one_of(name: str, choices: Sequence[str], meaning: str, **more: Any) -> Parameter:
    """A parameter for one of a few words."""
    return Parameter(name, {"type": "string", "enum": list(choices)}, meaning, **more)


def read_parameters(declared: Sequence[Parameter], given: MultiDict[str, str], *, strict: bool) -> dict[str, Any]:
    """The values of the declared query parameters.

    Args:
        declared: the endpoint's parameters; those in the path are ignored.
        given: the request's query string.
        strict: refuse unknown and repeated names.

    Raises:
        InvalidPayload: status 400; the message names the parameter and its values.
    """
    query = [parameter for parameter in declared if not parameter.in_path]
    if strict:
        _refuse_unknown([parameter.name for parameter in query], given)
    return {parameter.name: _value(parameter, given.get(parameter.name)) for parameter in query}


def _refuse_unknown(known: Sequence[str], given: MultiDict[str, str]) -> None:
    for name, texts in given.lists():
        if name not in known:
            takes = ", ".join(known) if known else "no parameters"
            raise InvalidPayload(
                "unknown_parameter", f"{_shown(name)} is not known here, which takes {takes}", field=name
            )
        if len(texts) > 1:
            raise InvalidPayload("repeated_parameter", f"{name} is given {len(texts)} times; give it once", field=name)


def _value(parameter: Parameter, text: str | None) -> Any:
    if text is None:
        if parameter.required:
            raise _refusal(parameter, "missing_parameter", "is missing")
        return parameter.default
    schema = parameter.schema
    if schema["type"] == "integer":
        number = int(text) if _WHOLE_NUMBER.fullmatch(text) else None
        if number is None or not schema["minimum"] <= number <= schema["maximum"]:
            raise _refusal(parameter, parameter.reason, f"does not take {_shown(text)}")
        return number
    if schema["type"] == "boolean":
        if text not in {"true", "false"}:
            raise _refusal(parameter, parameter.reason, f"does not take {_shown(text)}")
        return text == "true"
    if "enum" in schema and text not in schema["enum"]:
        raise _refusal(parameter, parameter.reason, f"does not take {_shown(text)}")
    return text


def _refusal(parameter: Parameter, reason: str, problem: str) -> InvalidPayload:
    message = f"{parameter.name} {problem}; use {_takes(parameter.schema)}"
    return InvalidPayload(reason, message, field=parameter.name)


def _takes(schema: Mapping[str, Any]) -> str:
    if schema["type"] == "integer":
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    if schema["type"] == "boolean":
        return "true or false"
    return "one of " + ", ".join(schema["enum"]) if "enum" in schema else "text"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
