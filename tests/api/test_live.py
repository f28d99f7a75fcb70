"""GET /v1/sites/{site}/live."""

from __future__ import annotations

from liveinsight.buckets import MINUTE_MS
from liveinsight.events import HEARTBEAT
from liveinsight.testing import NOON

PATH = "/v1/sites/default/live"


def test_visitors_are_counted_once_at_their_last_minute_and_every_minute_has_a_row(feed, get, clock):
    """Visitor 1 stays for six minutes, visitor 2 left four minutes ago, visitor 3 seven."""
    feed.view(NOON - 6 * MINUTE_MS, visitor=1)
    feed.view(NOON - 7 * MINUTE_MS, visitor=3)
    feed.view(NOON - 4 * MINUTE_MS, visitor=2)
    feed.view(NOON - 4 * MINUTE_MS + 1, "/b", visitor=2)
    feed.add(feed.event(NOON, visitor=1, type=HEARTBEAT))
    feed.fresh(NOON)
    clock.now = NOON + 59_999

    answer = get(PATH)

    expected = [
        {"start_ms": NOON - back * MINUTE_MS, "pageviews": views, "visitors": visitors}
        for back in range(29, -1, -1)
        for views, visitors in [{0: (0, 1), 4: (2, 1), 6: (1, 1), 7: (1, 1)}.get(back, (0, 0))]
    ]
    assert answer["data"] == {"visitors": 2, "window_minutes": 5, "pageviews": 2, "minutes": expected}
    assert answer["meta"] == {
        "site": "default", "time_zone": "UTC", "as_of": NOON, "lag_ms": 59_999, "complete": False, "items_read": 5,
        "from": "2026-09-21T11:56:00+00:00", "to": "2026-09-21T12:01:00+00:00",
    }  # fmt: skip
    assert get(PATH, minutes=4)["data"]["visitors"] == 1
    assert get(PATH, minutes=8)["data"]["visitors"] == 3


def test_a_window_beyond_the_listed_minutes_counts_all_of_itself(feed, get):
    """60 minutes are read, 30 are listed."""
    feed.view(NOON - 59 * MINUTE_MS, visitor=1)
    feed.view(NOON - 60 * MINUTE_MS, visitor=2)
    data = get(PATH, minutes=60)["data"]
    assert (data["visitors"], data["pageviews"], len(data["minutes"])) == (1, 1, 30)


def test_visitors_of_several_shards_are_summed(feed, get):
    """Each shard has its own minute items; a visitor who moved to a child shard is counted once."""
    feed.view(NOON - MINUTE_MS, visitor=1, shard="shardId-000000000000")
    feed.view(NOON, visitor=1, shard="shardId-000000000002")
    feed.view(NOON, visitor=2, shard="shardId-000000000001")
    data = get(PATH)["data"]
    assert (data["visitors"], data["pageviews"], data["minutes"][-1]["visitors"]) == (2, 3, 2)
