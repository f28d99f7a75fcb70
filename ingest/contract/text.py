"""Cleaning of text from outside: what is stored holds no control characters and is not too long."""

from __future__ import annotations

import re

_SPACES = re.compile(r"\s+")
# C0, DEL and C1 controls; line and paragraph separators, which break JavaScript strings; what turns the direction of
# the text after it; lone surrogates; the byte order mark and what is no character.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def clean(text: str | None, limit: int) -> str:
    """An identifier or a URL: controls removed, cut at `limit`; None is as empty."""
    if not text:
        return ""
    if not text.isprintable():
        text = _UNWANTED.sub("", text)
    return (text if len(text) <= limit else text[:limit]).strip()


def clean_phrase(text: str | None, limit: int) -> str:
    """Words for people: as `clean`, but runs of white space become one blank, so that no words are glued together."""
    if not text:
        return ""
    if not text.isprintable():
        text = _UNWANTED.sub("", _SPACES.sub(" ", text))
    return (text if len(text) <= limit else text[:limit]).strip()
