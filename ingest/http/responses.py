"""Answers as Flask responses: JSON, never stored by caches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_encode = msgspec.json.Encoder().encode
NOT_STORED = ("Cache-Control", "no-store")


_ALWAYS = (("Content-Type", "application/json"), NOT_STORED)


class JsonResponse(Response):
    """JSON in bytes. All its headers are known from the start: none has to be found out when it is sent."""

    def __init__(self, body: bytes, status: int, headers: Sequence[tuple[str, str]]) -> None:
        super().__init__(None, status, [*_ALWAYS, *headers, ("Content-Length", str(len(body)))])
        self.response = self._body = [body]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self._body


def json_response(status: int, body: Any, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """`body` as JSON."""
    return JsonResponse(_encode(body), status, headers)
