"""The fields of a site that operators set: option, help, and how text becomes a value. Pure.

In: text. Out: values of `Site`'s fields, or a `ValueError` that says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from liveinsight.sites.site import ANY_ORIGIN, Bots, DoNotTrackPolicy

SITE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Site names are part of storage keys and URLs."""

Choice = TypeVar("Choice", DoNotTrackPolicy, Bots)

_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MOST_IN_A_LIST = 200
_LONGEST_GLOB = 500
_MOST_STARS = 8
"""Per glob: each star multiplies the cost of a hostile path."""


def site_name(text: str) -> str:
    """A site name."""
    if not SITE_NAME.fullmatch(text):
        raise ValueError(f"{text!r}: use up to 63 lower-case letters, digits, dots, dashes, underscores")
    return text


def time_zone(text: str) -> str:
    """The name of a time zone."""
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is no IANA time zone such as Europe/Berlin") from None


def origin(text: str) -> str:
    """An origin as browsers write it: lower case, no default port, no path."""
    if text == ANY_ORIGIN:
        return text
    mistake = f"{text!r}: use an origin such as https://example.com or https://*.example.com, or * for any"
    try:
        parts = urlsplit(text.strip())
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if "*" not in text else parts.hostname or ""
    except (ValueError, UnicodeError):
        raise ValueError(mistake) from None
    host = f"[{host}]" if ":" in host else host
    complete = parts.scheme in _DEFAULT_PORTS and parts.path in {"", "/"} and not parts.query and not parts.fragment
    if not complete or "@" in parts.netloc or not _HOST.fullmatch(host):
        raise ValueError(mistake)
    if host.startswith("*.") and "." not in host[2:] and host != "*.localhost":
        raise ValueError(f"{text!r} would allow a whole top-level domain")
    shown_port = f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else ""
    return f"{parts.scheme}://{host}{shown_port}"


def address_range(text: str) -> str:
    """An address or a range of them in CIDR notation."""
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError(f"{text!r}: use an address or a range such as 198.51.100.0/24 or 2001:db8::/32") from None


def path_glob(text: str) -> str:
    """A glob for paths: ``*`` is anything within a segment; ``/**`` at the end is the path and everything below."""
    if not text.startswith("/") or len(text) > _LONGEST_GLOB or "**" in text.removesuffix("/**"):
        raise ValueError(f"{text!r}: use a path in which * is anything within a segment, such as /user/* or /admin/**")
    if text.count("*") > _MOST_STARS:
        raise ValueError(f"{text!r}: use at most {_MOST_STARS} stars")
    return text


def path_group(text: str) -> tuple[str, str]:
    """A glob, and the page that matching paths are counted as."""
    glob, separator, replacement = text.partition("=")
    if not separator or not replacement.startswith("/") or len(replacement) > _LONGEST_GLOB:
        raise ValueError(f"{text!r}: use GLOB=PATH, such as /order/*=/order/:id")
    return path_glob(glob), replacement


def query_parameter(text: str) -> str:
    """The name of a query parameter."""
    if not re.fullmatch(r"[^\s&=#]{1,100}", text):
        raise ValueError(f"{text!r}: use a parameter's name, such as q")
    return text


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"{text!r}: use a whole number from {least} to {most}")
        return int(text)

    return read


def do_not_track(text: str) -> DoNotTrackPolicy:
    """How to treat visitors who ask not to be tracked."""
    return _one_of(DoNotTrackPolicy, text)


def bots(text: str) -> Bots:
    """How to treat bots."""
    return _one_of(Bots, text)


def _one_of(choices: type[Choice], text: str) -> Choice:
    try:
        return choices(text)
    except ValueError:
        raise ValueError(f"{text!r}: use one of {', '.join(choices)}") from None


@dataclass(frozen=True)
class Field:
    """A field of a site: its option, its help, how text becomes a value, and whether it takes several values."""

    name: str
    metavar: str
    parse: Callable[[str], Any]
    meaning: str
    many: bool = False

    @property
    def option(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    def read(self, given: str | list[str]) -> Any:
        """The field's value.

        Raises:
            ValueError: the text is no such value, or there are too many values.
        """
        if isinstance(given, str):
            return self.parse(given)
        if len(given) > _MOST_IN_A_LIST:
            raise ValueError(f"{len(given)} values: use at most {_MOST_IN_A_LIST}")
        return tuple(dict.fromkeys(self.parse(text) for text in given))


FIELDS: tuple[Field, ...] = (
    Field("time_zone", "ZONE", time_zone, "where its days begin, such as Europe/Berlin (default UTC)"),
    Field(
        "origins",
        "ORIGIN",
        origin,
        "origins whose pages may send events: https://example.com, https://*.example.com for all subdomains (not for "
        "example.com itself), * for any (the default); an empty list accepts only events that no browser sends",
        many=True,
    ),
    Field(
        "session_gap",
        "MINUTES",
        whole_number(1, 1440),
        "minutes of inactivity that end a session, 1 to 1440 (default 30)",
    ),
    Field(
        "excluded_paths",
        "GLOB",
        path_glob,
        "pages that are not counted: * is anything within a segment, /admin/** is /admin and everything below",
        many=True,
    ),
    Field(
        "excluded_addresses",
        "CIDR",
        address_range,
        "visitors that are not counted, such as your own office, 198.51.100.0/24",
        many=True,
    ),
    Field(
        "address_rate",
        "N",
        whole_number(0, 10_000_000),
        "events a minute, and at once, of one address at one ingest process; 0 for no limit (default)",
    ),
    Field(
        "site_rate",
        "N",
        whole_number(0, 100_000_000),
        "events a minute, and at once, of the site at one ingest process; 0 for no limit (default)",
    ),
    Field(
        "max_values",
        "N",
        whole_number(1, 100_000),
        "different values per day and dimension at one ingest process; others become (other) (default 2000)",
    ),
    Field(
        "do_not_track",
        "HOW",
        do_not_track,
        "visitors who ask not to be tracked (DNT, Sec-GPC): off counts them like all, anonymous without their ids "
        "(the default), drop not at all",
    ),
    Field(
        "bots", "HOW", bots, "drop leaves bots out and counts them in the drop ledger (the default), count counts them"
    ),
    Field(
        "query_allow",
        "NAME",
        query_parameter,
        "query parameters that are part of a page; * is all but those of trackers; all others are dropped",
        many=True,
    ),
    Field(
        "path_groups",
        "GLOB=PATH",
        path_group,
        "count paths that fit a glob as one page, the first that fits: /order/*=/order/:id",
        many=True,
    ),
)
"""In the order of the help."""
