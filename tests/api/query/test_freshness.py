"""as_of, lag_ms and complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from liveinsight.model.buckets import DAY_MS, HOUR_MS
from liveinsight.testing.builders import NOON
from liveinsight.testing.memory_store import MemoryStore
from tests.api.conftest import Feed

PATH = "/v1/sites/default/totals"


def _freshness(answer: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(answer["meta"][name] for name in ("as_of", "lag_ms", "complete"))


def test_the_slowest_open_shard_decides_and_closed_ones_do_not(feed: Feed, get: Callable[..., Any]) -> None:
    """A closed shard's watermark stands still for good."""
    feed.fresh(NOON - 100, "shardId-000000000001")
    feed.fresh(NOON - 900, "shardId-000000000002")
    feed.fresh(NOON - DAY_MS, "shardId-000000000000", closed=True)
    answer = get(PATH)
    assert _freshness(answer) == (NOON - 900, 900, True)
    assert answer["meta"]["items_read"] == 3


def test_without_an_open_shard_freshness_is_unknown(feed: Feed, get: Callable[..., Any]) -> None:
    """Before the first event, and with closed shards only."""
    assert _freshness(get(PATH)) == (None, None, False)
    feed.fresh(NOON, closed=True)
    assert _freshness(get(PATH)) == (None, None, False)


def test_a_lag_of_fifteen_seconds_is_complete_and_more_is_not(feed: Feed, get: Callable[..., Any]) -> None:
    """The constant's two sides."""
    feed.fresh(NOON - 15_001)
    assert _freshness(get(PATH)) == (NOON - 15_001, 15_001, False)
    feed.fresh(NOON - 15_000)
    assert _freshness(get(PATH)) == (NOON - 15_000, 15_000, True)


def test_a_past_range_is_complete_once_the_watermark_has_passed_its_end(feed: Feed, get: Callable[..., Any]) -> None:
    """However far behind the present is."""
    feed.fresh(NOON - HOUR_MS)
    assert _freshness(get(PATH, from_="2026-09-21T10:00Z", to="2026-09-21T11:00Z")) == (NOON - HOUR_MS, HOUR_MS, True)
    assert _freshness(get(PATH, from_="2026-09-21T10:00Z", to="2026-09-21T11:15Z")) == (NOON - HOUR_MS, HOUR_MS, False)


def test_a_watermark_from_a_clock_ahead_of_ours_is_no_negative_lag(feed: Feed, get: Callable[..., Any]) -> None:
    """The stream's clock and the API's are two."""
    feed.fresh(NOON + 500)
    assert _freshness(get(PATH)) == (NOON + 500, 0, True)


def test_the_watermark_is_read_before_the_counters(
    feed: Feed, client: FlaskClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written between the two reads may be in the answer; it must not be claimed without being in it."""
    feed.fresh(NOON - 10_000)
    read_totals = store.read_totals

    def read_then_flush(*arguments: Any) -> Any:
        read = read_totals(*arguments)
        feed.view(NOON - 5_000)
        feed.fresh(NOON)
        return read

    monkeypatch.setattr(store, "read_totals", read_then_flush)
    answer = client.get(PATH).get_json()
    assert (answer["data"]["pageviews"], answer["meta"]["as_of"]) == (0, NOON - 10_000)
