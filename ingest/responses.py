"""Answers as Flask responses: JSON, never stored by caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers

_encode = msgspec.json.Encoder().encode
NOT_STORED = ("Cache-Control", "no-store")


class JsonResponse(Response):
    """Has all its headers from the start: there is nothing to find out about them when it is sent."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        return self.headers


def json_response(status: int, body: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """`body` as JSON."""
    return JsonResponse(_encode(body), status, [NOT_STORED, *headers], content_type="application/json")
