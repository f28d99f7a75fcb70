"""Reads are bounded: the number of stored items an answer takes does not grow with the number of events."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import pytest

from api.app import create_app
from liveinsight.model.buckets import MINUTE_MS
from liveinsight.model.events import HEARTBEAT
from liveinsight.settings import Settings
from liveinsight.storage.store import ReadStore
from liveinsight.testing.builders import NOON, FakeClock, MemoryStore
from tests.api.conftest import Feed

PATHS = (
    "/api/sessions/active",
    "/api/statistics/hourly",
    "/api/statistics/pages",
    "/v1/sites/default/totals?compare=previous",
    "/v1/sites/default/timeseries",
    "/v1/sites/default/breakdown?dimension=page&period=7d",
    "/v1/sites/default/breakdown?dimension=country",
    "/v1/sites/default/live",
    "/v1/sites/default/live?by=page",
    "/v1/sites/default/sessions",
)


def _items_read(settings: Settings, events: int) -> dict[str, int]:
    """The same 10 visitors, 4 pages and 20 minutes, with more or fewer events in them."""
    store = MemoryStore()
    feed = Feed(store, settings)
    made = []
    for number in range(events):
        at = NOON - 19 * MINUTE_MS + number * 20 * MINUTE_MS // events
        page = f"/{number % 4}"
        kind = {} if number < 100 else {"type": HEARTBEAT}
        made.append(feed.event(at, visitor=1 + number % 10, page=page, page_url=page, event_id=number + 1, **kind))
    made.sort(key=lambda event: event.occurred_at)
    feed.add(*made)
    client = create_app(settings, store, FakeClock()).test_client()
    read = {}
    for path in PATHS:
        response = client.get(path)
        assert response.status_code == 200
        header = response.headers.get("X-LiveInsight-Items-Read")
        read[path] = int(header) if header else response.get_json()["meta"]["items_read"]
    return read


def test_items_read_are_the_same_for_100_and_10000_events(settings: Settings) -> None:
    """A hundred times the events, not one item more."""
    few = _items_read(settings, 100)
    many = _items_read(settings, 10_000)
    assert few == many
    assert 0 < min(many.values()) <= max(many.values()) < 100


@pytest.mark.parametrize("path", PATHS)
def test_the_number_of_calls_to_the_store_is_that_of_days_and_ranges(settings: Settings, path: str) -> None:
    """One call per range, per day of a breakdown, for present visitors by value, and one for the watermarks.

    The list of sessions looks at the last minutes, at those before, and at the visitors seen in them.
    """
    calls = []

    class Counting:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                calls.append(name)
                return getattr(MemoryStore(), name)(*arguments)

            return call

    assert create_app(settings, cast("ReadStore", Counting()), FakeClock()).test_client().get(path).status_code == 200
    calls_by_query = {"pages": 30, "period=7d": 7, "compare": 2, "by=": 2, "sessions": 3}
    expected = next((count for name, count in calls_by_query.items() if name in path), 1)
    assert len(calls) == 1 + expected
    assert set(calls) <= {name for name, _ in inspect.getmembers(ReadStore, inspect.isfunction)}
