"""The wire format, marks and buckets."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveinsight.aws.keys import bucket_of, counter_key, utc_days_of_quarters, value_of
from liveinsight.counting.keys import CounterKey
from liveinsight.model.buckets import (
    HOUR_MS,
    day_from_number,
    day_number,
    local_day_and_hour,
    local_midnight_ms,
    utc_day_of_quarter,
)
from liveinsight.model.errors import UndecodableRecord
from liveinsight.model.events import MAGIC, VERSION, Element, decode_record, encode_record
from liveinsight.storage.stream import shard_tag
from liveinsight.testing.builders import an_event


def test_record_carries_events_unchanged() -> None:
    """What goes in comes out, in order."""
    events = [
        an_event(),
        an_event(type="click", element=Element("a", "id", "x y", "text"), props={"n": 1.5, "b": None}),
    ]
    assert decode_record(encode_record(events)) == events


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_ours"),
        (b"\xf3\x89\x9a\xc2", "not_ours"),
        (MAGIC + bytes([VERSION + 1]), "unknown_version"),
        (MAGIC, "unknown_version"),
        (encode_record([an_event()])[:-3], "damaged"),
        (encode_record([an_event()]) + b"x", "damaged"),
        (MAGIC + bytes([VERSION]) + b"\x93\x01\x02\x03", "damaged"),
        (MAGIC + bytes([VERSION]) + b"\x91" * 5000, "damaged"),
    ],
)
def test_foreign_and_damaged_records_have_a_reason(data: bytes, reason: str) -> None:
    """A record that cannot be decoded says why."""
    with pytest.raises(UndecodableRecord) as caught:
        decode_record(data)
    assert caught.value.reason == reason


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    """Whatever stands behind a good header is events or a reason."""
    with suppress(UndecodableRecord):
        decode_record(MAGIC + bytes([VERSION]) + data)


@pytest.mark.parametrize(
    ("utc", "zone", "expected"),
    [
        ("2026-06-01T18:29:59", "Asia/Kolkata", (20260601, 23)),
        ("2026-06-01T18:30:00", "Asia/Kolkata", (20260602, 0)),
        ("2026-06-01T18:14:59", "Asia/Kathmandu", (20260601, 23)),
        ("2026-06-01T18:15:00", "Asia/Kathmandu", (20260602, 0)),
        ("2026-01-01T03:29:59", "America/St_Johns", (20251231, 23)),
        ("2026-01-01T03:30:00", "America/St_Johns", (20260101, 0)),
        ("2026-03-29T00:59:59", "Europe/Berlin", (20260329, 1)),
        ("2026-03-29T01:00:00", "Europe/Berlin", (20260329, 3)),
        ("2026-10-25T00:30:00", "Europe/Berlin", (20261025, 2)),
        ("2026-10-25T01:30:00", "Europe/Berlin", (20261025, 2)),
    ],
)
def test_local_day_and_hour(utc: str, zone: str, expected: tuple[int, int]) -> None:
    """Borders of local days and hours are right for odd offsets and both daylight-saving switches."""
    at = int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1000)
    assert local_day_and_hour(at, ZoneInfo(zone)) == expected


def test_local_midnight_is_the_first_instant_of_the_day() -> None:
    """Also where the clocks skip midnight."""
    for zone_name, day in [("Africa/Cairo", date(2026, 4, 24)), ("Europe/Berlin", date(2026, 3, 29))]:
        zone = ZoneInfo(zone_name)
        start = local_midnight_ms(day, zone)
        assert local_day_and_hour(start, zone)[0] == day_number(day)
        assert local_day_and_hour(start - HOUR_MS // 4, zone)[0] < day_number(day)


@given(st.dates(date(1970, 1, 1), date(2200, 1, 1)))
def test_day_numbers_invert(day: date) -> None:
    """A day's number gives the day back."""
    assert day_from_number(day_number(day)) == day


@given(st.text(min_size=1), st.integers(0, 10**6))
def test_dimension_keys_invert(value: str, shard: int) -> None:
    """The value is found again in the sort key, whatever it contains."""
    key = counter_key(CounterKey("dimension", "default", 20260922, "page", value), f"shardId-{shard:012d}")
    assert (key[0], value_of(key[1])) == ("d#default#20260922#page", value)


@given(st.integers(0, 4_000_000), st.integers(0, 10**6))
def test_bucket_keys_invert(bucket: int, shard: int) -> None:
    """The bucket is found again in the sort key."""
    pk, sk = counter_key(CounterKey("totals", "default", bucket, "", ""), f"shardId-{shard:012d}")
    assert (pk, bucket_of(sk)) == (f"t#default#{utc_day_of_quarter(bucket)}", bucket)


def test_shard_tags_are_short_and_distinct() -> None:
    """Shards keep apart in keys."""
    assert [shard_tag(f"shardId-{n:012d}") for n in (0, 7, 70)] == ["0", "7", "70"]


def test_days_of_a_range_of_buckets() -> None:
    """Every UTC day that a range touches is named once; an empty range touches none."""
    assert utc_days_of_quarters(95, 96 * 2) == [19700101, 19700102, 19700103]
    assert utc_days_of_quarters(5, 4) == []
