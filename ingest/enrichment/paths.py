"""Normalised paths and queries, and globs of paths.

Percent-encoding: letters, digits and printable characters of any script are decoded; reserved characters stay encoded,
in upper case; characters that are invalid in a URL (blanks, quotes, angle brackets, controls) are encoded. Dot segments
and empty segments are resolved, a trailing slash is removed. Index pages are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from urllib.parse import quote

from ingest.contract.limits import MAX_QUERY_FIELDS

TRACKING = re.compile(
    r"utm_.*|mtm_.*|pk_.*|ga_.*|_ga|_gl|gclid|gclsrc|gad_.*|dclid|gbraid|wbraid|srsltid|msclkid|fbclid|fb_.*|igshid?|igsh"
    r"|ttclid|twclid|li_fat_id|yclid|ymclid|_openstat|epik|sccid|rdt_cid|qclid|obclid|tblci|mc_cid|mc_eid|mkt_tok"
    r"|_hsenc|_hsmi|__hs.*|hsctatracking|vero_id|vero_conv|oly_enc_id|oly_anon_id|wickedid|irclickid|cjevent|s_kwcid"
    r"|ef_id|_branch_match_id|_kx|ck_subscriber_id|ref_src|ref_url|spm|scm",
    re.IGNORECASE,
)
"""Query fields for tracking: they do not change what a page shows."""

_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)+")
_ENCODED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SAFE = re.compile("[A-Za-z0-9._~!$&'()*+,;=:@/\x80-\U0010ffff-]*")
# A cut may leave half of an encoded character, a dot segment or a slash.
_RAGGED = re.compile(r"(?:%[0-9A-F]?|(?<=/)\.{1,2}|/)+$")


def normal_path(path: str) -> str:
    """The normalised path. It starts with a slash."""
    if _PLAIN.fullmatch(path):
        return path
    segments: list[str] = []
    for segment in normal_text(path).split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return "/" + "/".join(segments)


def normal_text(text: str) -> str:
    """Text of a URL with normalised percent-encoding."""
    pieces: list[str] = []
    end = 0
    for match in _ENCODED.finditer(text):
        pieces.append(_raw(text[end : match.start()]))
        pieces.append(_decoded(match[0]))
        end = match.end()
    pieces.append(_raw(text[end:]))
    return "".join(pieces)


def _raw(text: str) -> str:
    if _SAFE.fullmatch(text) and text.isprintable():
        return text
    return "".join(map(_kept, text))


def _kept(letter: str) -> str:
    if _SAFE.fullmatch(letter) and letter.isprintable():
        return letter
    return quote(letter, safe="", errors="replace")


def _decoded(run: str) -> str:
    if len(run) == 3 and run[1] < "8":
        return _shown(chr(int(run[1:], 16)))
    data = bytes.fromhex(run.replace("%", ""))
    return "".join(map(_shown, data.decode("utf-8", "surrogateescape")))


def _shown(letter: str) -> str:
    if letter in _UNRESERVED or (not letter.isascii() and letter.isprintable()):
        return letter
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))


def allowed_query(query: str, allow: Collection[str]) -> str:
    """``?name=value&...`` with the allowed fields only, in the order of their names; empty when there are none."""
    if not query or not allow:
        return ""
    everything = "*" in allow
    kept = []
    for field in query.split("&", MAX_QUERY_FIELDS)[:MAX_QUERY_FIELDS]:
        name, equals, value = field.partition("=")
        name = normal_text(name)
        if name and (name in allow or (everything and not TRACKING.fullmatch(name))):
            kept.append(name + equals + normal_text(value))
    return "?" + "&".join(sorted(kept)) if kept else ""


def group_of(path: str, groups: Sequence[tuple[str, str]]) -> str:
    """The name of the first (glob, name) pair whose glob matches `path`, or "". An empty name stands for the glob."""
    return next((name or glob for glob, name in groups if glob_pattern(glob).fullmatch(path)), "")


@lru_cache(maxsize=1024)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """The regular expression of a glob, for `fullmatch`.

    ``*`` matches any characters of one segment, and at least one where it is the whole segment. ``/**`` at the end
    matches the path before it and everything below. Every other character stands for itself.
    """
    start, everything_below = glob.removesuffix("/**"), glob.endswith("/**")
    segments = ("[^/]+" if segment == "*" else _segment(segment) for segment in start.split("/"))
    return re.compile("/".join(segments) + ("(?:/.*)?" if everything_below else ""), re.DOTALL)


def _segment(segment: str) -> str:
    first, *middle = map(re.escape, segment.split("*"))
    if not middle:
        return first
    last = middle.pop()
    # The first place where a middle part fits is as good as any later one. An atomic group tries no other, so that a
    # hostile path costs no more than its length times the number of stars.
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + "[^/]*" + last


def fits(page: str, letters: int, size: int) -> bool:
    """Whether `page` has at most this many characters and bytes."""
    return len(page) <= letters and (page.isascii() or len(page.encode()) <= size)


def bounded(path: str, letters: int, size: int) -> str:
    """A path cut to this many characters and bytes, at a place where it stays normalised."""
    if fits(path, letters, size):
        return path
    return _RAGGED.sub("", path[:letters].encode()[:size].decode("utf-8", "ignore")) or path[:1]
