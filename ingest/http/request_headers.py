"""Request headers, from a WSGI environment: body type, API key, origin."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from werkzeug.http import parse_options_header

from ingest.contract.reasons import Reason
from liveinsight.model.errors import InvalidPayload

_MEDIA_TYPES = frozenset({"application/json", "text/plain"})


def check_body_is_readable(environ: Mapping[str, Any]) -> None:
    """Refuse bodies that are not plain JSON. Compressed ones could decompress to a thousand times their size.

    Raises:
        InvalidPayload: ``unsupported_media_type`` or ``unsupported_encoding``.
    """
    if not _is_readable(environ.get("CONTENT_TYPE", "")):
        raise InvalidPayload(Reason.UNSUPPORTED_MEDIA_TYPE, "use application/json or text/plain", status=415)
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in {"identity", ""}:
        raise InvalidPayload(Reason.UNSUPPORTED_ENCODING, "send the body uncompressed", status=415)


@lru_cache(maxsize=256)
def _is_readable(content_type: str) -> bool:
    return parse_options_header(content_type)[0].lower() in _MEDIA_TYPES


def bearer_key(environ: Mapping[str, Any]) -> str:
    """The API key of a request.

    Raises:
        InvalidPayload: ``missing_key``.
    """
    scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise InvalidPayload(Reason.MISSING_KEY, "send the site's API key: Authorization: Bearer <key>", status=401)
    return str(key.strip())


def page_origin(environ: Mapping[str, Any]) -> str | None:
    """The origin of the requesting page. A request for an image has no Origin, but often a Referer."""
    origin: str | None = environ.get("HTTP_ORIGIN")
    referer = environ.get("HTTP_REFERER")
    if origin or not referer:
        return origin
    try:
        parts = urlsplit(referer)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
