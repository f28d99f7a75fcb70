"""OpenAPI 3.1 documents, for ingest and the read API.

In: operations as data. Out: the document as plain values. Schemas come from the types that bodies are decoded into and
encoded from, so the document cannot promise a field that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from liveinsight import __version__

Schema = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of the query string or the path.

    Args:
        name: its name in the request.
        schema: JSON schema of the value.
        meaning: its description.
        default: the value when it is not given.
        required: whether it must be given.
        in_path: whether it is a part of the path.
        reason: the error's reason when the value does not fit.
    """

    name: str
    schema: Mapping[str, Any]
    meaning: str
    default: Any = None
    required: bool = False
    in_path: bool = False
    reason: str = "bad_parameter"


def _unchanged(schema: Schema) -> Schema:
    return schema


@dataclass(frozen=True)
class Content:
    """What a body holds.

    Args:
        type: what is written as JSON; None where there is no JSON.
        wrap: the whole body's schema from the type's.
        media_types: other media types, with their media type objects.
    """

    type: Any = None
    wrap: Callable[[Schema], Schema] = _unchanged
    media_types: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True)
class ResponseSpec:
    """A response of an operation. `headers` are header objects by name."""

    description: str
    content: Content | None = None
    headers: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One method of one path. `security` names the scheme that it needs, if any."""

    path: str
    method: str
    name: str
    summary: str
    responses: Mapping[int, ResponseSpec]
    parameters: Sequence[Parameter] = ()
    body: Content | None = None
    security: str = ""


def document(
    title: str,
    description: str,
    operations: Sequence[Operation],
    *,
    types: Sequence[Any] = (),
    security: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:
    """The whole document.

    Args:
        title: of the API.
        description: of the API.
        operations: all of them.
        types: types that wrapped schemas refer to, beside those of the operations.
        security: security schemes by name.
    """
    contents = [
        content
        for operation in operations
        for content in (operation.body, *(response.content for response in operation.responses.values()))
        if content and content.type is not None
    ]
    used = list(dict.fromkeys([*types, *(content.type for content in contents)]))
    schemas, components = msgspec.json.schema_components(used, ref_template="#/components/schemas/{name}")
    known = dict(zip(used, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "description": description},
        "paths": paths,
        "components": {"schemas": components} | ({"securitySchemes": dict(security)} if security else {}),
    }


def _operation(operation: Operation, known: Mapping[Any, Schema]) -> Schema:
    written: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {
            str(status): _response(response, known) for status, response in sorted(operation.responses.items())
        },
    }
    if operation.body:
        written["requestBody"] = {"required": True, "content": _content(operation.body, known)}
    if operation.security:
        written["security"] = [{operation.security: []}]
    return written


def _parameter(parameter: Parameter) -> Schema:
    schema = dict(parameter.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": schema,
    }


def _response(response: ResponseSpec, known: Mapping[Any, Schema]) -> Schema:
    written: Schema = {"description": response.description}
    if response.content:
        written["content"] = _content(response.content, known)
    if response.headers:
        written["headers"] = dict(response.headers)
    return written


def _content(content: Content, known: Mapping[Any, Schema]) -> Schema:
    json = {} if content.type is None else {"application/json": {"schema": content.wrap(known[content.type])}}
    return {**json, **content.media_types}
