"""Access logs in the combined format: which lines are page views, and why the others are not.

In: lines of text. Out: a data frame, a row a line, whose `skip` column says why a line is no page view ("" if it is).
Pure: reads no file, knows no time but the lines' own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

# host ident user [time] "method target protocol" status size "referrer" "user agent"
# Inside quotes a server escapes quotes with a backslash.
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rf'(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)(?: [^"]*)?" (\d{{3}}) \S+ {_QUOTED} {_QUOTED}')
_FIELDS = ("address", "time", "method", "target", "status", "referrer", "user_agent")
_NOTHING = (None,) * len(_FIELDS)
_TIME_FORMAT = "%d/%b/%Y:%H:%M:%S %z"

STATIC_SUFFIXES = frozenset(
    "7z aac apk atom avi avif bin bmp bz2 class conf css csv deb diff dmg doc docx eot exe flac gif gz ico iso jar "
    "jpeg jpg js json less log m4a m4v map md mjs mov mp3 mp4 mpeg mpg msi ogg ogv otf patch pdf png ppt pptx ps "
    "rar rdf rpm rss scss sh sql svg swf tar tgz tif tiff torrent ttf txt wasm wav webm webmanifest webp wmv woff "
    "woff2 xls xlsx xml xsl xz yaml yml zip".split()
)
"""What is fetched by pages or for keeps, but is no page."""

MALFORMED = "malformed line"
NOT_GET = "not a GET request"
NOT_SUCCESSFUL = "not successful"
STATIC = "static file"


class PageRequest(NamedTuple):
    """One line that is a page view; `line` counts from 0."""

    line: int
    address: str
    occurred_at: int
    target: str
    referrer: str
    user_agent: str


@dataclass(frozen=True)
class PageRules:
    """Which requests count as page views."""

    include_static: bool = False


def parse_lines(lines: Sequence[str], rules: PageRules) -> pd.DataFrame:
    """One row per line.

    Columns: `address`, `occurred_at` (epoch ms), `target`, `referrer`, `user_agent`, `skip`. A page that the
    browser showed from its cache (304) was seen, too.
    """
    found = (_LINE.match(line) for line in lines)
    rows = [match.groups() if match else _NOTHING for match in found]
    frame = pd.DataFrame(rows, columns=pd.Index(_FIELDS), dtype="str")
    times = pd.to_datetime(frame["time"], format=_TIME_FORMAT, utc=True, errors="coerce")
    status = pd.to_numeric(frame["status"], errors="coerce")
    path = frame["target"].str.lower().str.replace(r"\?.*", "", regex=True)
    suffix = path.str.extract(r"\.([a-z0-9]+)$")[0]
    skip = pd.Series("", index=frame.index, dtype="object")
    # From the weakest to the strongest reason: a later one overwrites.
    if not rules.include_static:
        skip[suffix.isin(STATIC_SUFFIXES)] = STATIC
    skip[~(status.between(200, 299) | (status == 304))] = NOT_SUCCESSFUL
    skip[frame["method"] != "GET"] = NOT_GET
    skip[times.isna() | frame["user_agent"].isna()] = MALFORMED
    return pd.DataFrame(
        {
            "address": frame["address"],
            "occurred_at": times.fillna(pd.Timestamp(0, tz="UTC")).dt.as_unit("ms").astype("int64"),
            "target": frame["target"],
            "referrer": _given(frame["referrer"]),
            "user_agent": _given(frame["user_agent"]),
            "skip": skip,
        }
    )


def page_requests(frame: pd.DataFrame) -> list[PageRequest]:
    """The page views in what `parse_lines` gave, in order."""
    pages = frame[frame["skip"] == ""]
    columns = [pages[name].tolist() for name in PageRequest._fields[1:]]
    return [PageRequest(*row) for row in zip(pages.index.tolist(), *columns, strict=True)]


def _given(texts: pd.Series[str]) -> pd.Series[str]:
    """Text as the client sent it: a lone dash means nothing, and escapes are undone."""
    return texts.where(texts != "-", "").str.replace(r"\\(.)", r"\1", regex=True)
