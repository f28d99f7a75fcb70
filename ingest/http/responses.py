"""JSON responses that no cache stores.

In: a status, a body that msgspec can encode, and headers. Out: a Flask response.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_encode = msgspec.json.Encoder().encode
NOT_STORED = ("Cache-Control", "no-store")


class JsonResponse(Response):
    """A JSON body with headers that are sent as they are given. `headers` holds the type and what is added later."""

    def __init__(self, body: bytes, status: int, headers: Sequence[tuple[str, str]]) -> None:
        super().__init__(None, status, content_type="application/json")
        self._given = headers
        self.response = self._body = [body]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = ("Content-Length", str(len(self._body[0])))
        start_response(self.status, [*self.headers.to_wsgi_list(), NOT_STORED, *self._given, length])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self._body


def json_response(status: int, body: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """`body` as JSON."""
    return JsonResponse(_encode(body), status, headers)
