"""Cleaning of text from outside: control characters are removed, and the length is limited."""

from __future__ import annotations

import re

_SPACES = re.compile(r"\s+")
# C0, DEL and C1 controls; line and paragraph separators, which break JavaScript strings; controls of text direction;
# lone surrogates; the byte order mark and noncharacters.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def clean(text: str | None, limit: int) -> str:
    """An identifier or a URL without controls, cut at `limit`. None gives an empty text."""
    if not text:
        return ""
    if not text.isprintable():
        text = _UNWANTED.sub("", text)
    return (text if len(text) <= limit else text[:limit]).strip()


def clean_phrase(text: str | None, limit: int) -> str:
    """A phrase: as `clean`, with runs of white space replaced by one blank, so that words stay apart."""
    if not text:
        return ""
    if not text.isprintable():
        text = _UNWANTED.sub("", _SPACES.sub(" ", text))
    return (text if len(text) <= limit else text[:limit]).strip()
