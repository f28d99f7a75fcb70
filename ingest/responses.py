"""Answers as Flask responses: JSON, never stored by caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Response

_encode = msgspec.json.Encoder().encode
NOT_STORED = ("Cache-Control", "no-store")


def json_response(status: int, body: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """`body` as JSON."""
    return Response(_encode(body), status, [NOT_STORED, *headers], content_type="application/json")
