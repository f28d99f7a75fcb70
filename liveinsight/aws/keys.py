"""Storage keys: the only place that turns counters, visitors and previews into DynamoDB keys and back.

    counters table   pk                                 sk
      totals         t#<site>#<UTC day>                 <bucket of the hour>#<shard>
      dimension      d#<site>#<local day>#<dimension>   <shard>#<value>
      its preview    the same                           !<shard>
      minute         m#<site>[#live]                    <minute>#<shard>
      watermark      w#                                 <shard>
    sessions table
      visitor        v#<site>#<visitor>                 -
      their preview  p#<site>                           <shard>
      timeline       e#<site>#<session id>              <first mark>~<last mark>~<part>
      dead letter    x#                                 <mark>#<part>
      checkpoint     c#                                 <shard>
      salt           salt#<UTC day>                     -
      document       g#                                 <name>

Sites, dimensions and shard tags hold no "#"; a value or session id is always the last part, so it may.
"""

from __future__ import annotations

from liveinsight.counting.keys import CounterKey
from liveinsight.model.buckets import day_from_number, day_number, days_between, utc_day_of_quarter
from liveinsight.storage.stream import shard_of_tag, shard_tag

DIMENSIONS = "d#"
CHECKPOINTS = "c#"
WATERMARKS = "w#"
DEAD_LETTERS = "x#"
DOCUMENTS = "g#"
ONLY = "-"
PREVIEW = "!"
"""Sorts below the digits that shard tags begin with."""

Key = tuple[str, str]
"""(partition key, sort key)."""


def counter_key(key: CounterKey, shard_id: str) -> Key:
    """Key of a shard's counter."""
    kind, site, bucket, dimension, value = key
    tag = shard_tag(shard_id)
    if kind == "totals":
        return totals_partition(site, utc_day_of_quarter(bucket)), f"{bucket_text(bucket)}#{tag}"
    if kind == "minute":
        return minutes_partition(site, dimension), f"{bucket_text(bucket)}#{tag}"
    return dimension_partition(site, bucket, dimension), value_key(tag, value)


def counter_of(key: Key) -> tuple[str, CounterKey] | None:
    """The shard id and the counter of a key: the inverse of `counter_key`. None for everything else in the table."""
    (kind, *partition), (first, _, rest) = key[0].split("#"), key[1].partition("#")
    if kind == "t":
        return shard_of_tag(rest), CounterKey("totals", partition[0], int(first))
    if kind == "m":
        return shard_of_tag(rest), CounterKey("minute", partition[0], int(first), *partition[1:])
    if kind == "d" and not previewing_shard(key[1]):
        site, day, dimension = partition
        return shard_of_tag(first), CounterKey("dimension", site, int(day), dimension, rest)
    return None


def value_key(tag: str, value: str) -> str:
    """Sort key of a dimension's value; `tag` is the shard's."""
    return f"{tag}#{value}"


def preview_key(site: str, day: int, dimension: str, tag: str) -> Key:
    """Key of a shard's preview of a dimension. It sorts before the items that it adds to, so that it is read first and
    nothing written meanwhile is shown twice."""
    return dimension_partition(site, day, dimension), f"{PREVIEW}{tag}"


def previewing_shard(sort_key: str) -> str:
    """The tag of the shard whose preview is under a dimension's sort key, or ""."""
    return sort_key[1:] if sort_key.startswith(PREVIEW) else ""


def visitor_previews_partition(site: str) -> str:
    """Partition of the previews of a site's visitors, by shard tag."""
    return f"p#{site}"


def totals_partition(site: str, utc_day: int) -> str:
    """Partition of the totals of one UTC day."""
    return f"t#{site}#{utc_day}"


def utc_days_of_quarters(first: int, last: int) -> list[int]:
    """UTC days (yyyymmdd) that the 15-minute buckets from first to last lie in."""
    if first > last:
        return []
    first_day, last_day = (day_from_number(utc_day_of_quarter(quarter)) for quarter in (first, last))
    return [day_number(day) for day in days_between(first_day, last_day)]


def minutes_partition(site: str, dimension: str = "") -> str:
    """Partition of a site's live minutes, or of those by a dimension."""
    return f"m#{site}#{dimension}" if dimension else f"m#{site}"


def dimension_partition(site: str, day: int, dimension: str) -> str:
    """Partition of all values of a dimension on one local day."""
    return f"{DIMENSIONS}{site}#{day}#{dimension}"


def site_and_day(partition: str) -> tuple[str, int]:
    """The site and local day of a dimension's partition."""
    _, site, day, _ = partition.split("#")
    return site, int(day)


def bucket_text(bucket: int) -> str:
    """A bucket or minute number as text that sorts."""
    return f"{bucket:010d}"


def bucket_of(sort_key: str) -> int:
    """The bucket or minute in the sort key of a totals or minute item."""
    return int(sort_key.partition("#")[0])


def value_of(sort_key: str) -> str:
    """The value in the sort key of a dimension item."""
    return sort_key.partition("#")[2]


def visitor_key(site: str, visitor: int) -> Key:
    """Key of a visitor's state."""
    return f"v#{site}#{visitor:016x}", ONLY


def visitor_of(key: Key) -> tuple[str, int] | None:
    """Inverse of `visitor_key`; None for everything else in the table."""
    kind, *rest = key[0].split("#")
    return (rest[0], int(rest[1], 16)) if kind == "v" else None


def timeline_partition(site: str, session_id: str) -> str:
    """Partition of a session's events."""
    return f"e#{site}#{session_id}"


def session_of(key: Key) -> tuple[str, str] | None:
    """Site and session id of a timeline's key; None for everything else in the table."""
    kind, *rest = key[0].split("#", 2)
    return (rest[0], rest[1]) if kind == "e" else None


def salt_key(day: int) -> Key:
    """Key of the day's salt."""
    return f"salt#{day}", ONLY
