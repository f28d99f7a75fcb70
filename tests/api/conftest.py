"""Stored state as the processor leaves it: events go through the real fold into a store, and are read over HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from liveinsight.counting.contributions import PendingContributions
from liveinsight.counting.counters import CounterItem, apply_contributions
from liveinsight.counting.fold import fold
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.layout import storage_item
from liveinsight.counting.sessions import VisitorState
from liveinsight.counting.timeline import timeline_event
from liveinsight.model.events import Event
from liveinsight.model.marks import NO_MARK, event_mark, mark_prefix, record_mark
from liveinsight.settings import Settings
from liveinsight.storage.store import CounterWrite, TimelineChunk, VisitorWrite, Watermark
from liveinsight.testing.builders import NOON, FakeClock, MemoryStore, an_event
from liveinsight.testing.counters import by_counter

SITES = (
    "default=UTC decoy=UTC kolkata=Asia/Kolkata kathmandu=Asia/Kathmandu "
    "st-johns=America/St_Johns berlin=Europe/Berlin havana=America/Havana lord-howe=Australia/Lord_Howe"
)
FIRST_SHARD = "shardId-000000000000"


class Feed:
    """Events in, stored items out: the processor's order of things without its batching."""

    def __init__(self, store: MemoryStore, settings: Settings) -> None:
        self.store = store
        self._settings = settings
        self._states: dict[tuple[str, int], VisitorState] = {}
        self._number = 0

    def event(self, at: int = NOON, site: str = "default", **changes: Any) -> Event:
        """An event with the local day and hour of the site's zone."""
        return an_event(at=at, zone=self._settings.sites[site].key, site=site, **changes)

    def view(self, at: int = NOON, page: str = "/", **changes: Any) -> None:
        """One page view."""
        shard = changes.pop("shard", FIRST_SHARD)
        self.add(self.event(at, page=page, page_url=f"https://example.com{page}", **changes), shard=shard)

    def add(self, *events: Event, shard: str = FIRST_SHARD) -> None:
        pending: dict[CounterKey, list[tuple[str, PendingContributions]]] = defaultdict(list)
        for event in events:
            self._number += 1
            mark = event_mark(record_mark(mark_prefix(1, shard), str(self._number)), 0)
            state = self._states.setdefault((event.site, event.visitor), VisitorState(event.site, event.visitor))
            folded = fold(state, event, mark)
            for key, part in by_counter(folded.contributions):
                item_key, name = storage_item(key)
                pending[item_key].append((name, PendingContributions([part])))
            if folded.session_id:
                self.store.write_timeline(
                    [TimelineChunk(event.site, folded.session_id, [(mark, timeline_event(event))], 0)]
                )
        stored = self.store.load_counters(shard, list(pending))
        writes = []
        for key, contributions in pending.items():
            item = stored.get(key) or CounterItem()
            expected = item.mark or NO_MARK
            apply_contributions(item, contributions)
            writes.append(CounterWrite.of(key, expected, item, 0))
        assert self.store.write_counters(shard, writes).refused == []
        touched = list({(event.site, event.visitor) for event in events})
        known = self.store.load_visitors(touched)
        self.store.write_visitors([VisitorWrite.of(self._states[key], 0, is_new=key not in known) for key in touched])

    def fresh(self, as_of: int, shard: str = FIRST_SHARD, *, closed: bool = False) -> None:
        """Publish a watermark."""
        self.store.write_watermark(Watermark(shard, as_of, closed, 1))


def _query(parameters: dict[str, Any]) -> dict[str, Any] | None:
    return {name.rstrip("_"): value for name, value in parameters.items()} or None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings.from_env({"LIVEINSIGHT_SITES": SITES})


@pytest.fixture
def feed(store: MemoryStore, settings: Settings) -> Feed:
    """With a decoy: another site has events of the same times, pages and visitor, which no answer may show."""
    feed = Feed(store, settings)
    for page in ("/", "/decoy"):
        feed.view(NOON, page, site="decoy", session_id="decoy-session")
    return feed


@pytest.fixture
def client(settings: Settings, store: MemoryStore, clock: FakeClock) -> FlaskClient:
    app = create_app(settings, store, clock)
    app.testing = True
    return app.test_client()


@pytest.fixture
def get(client: FlaskClient) -> Callable[..., Any]:
    """get(path, **parameters): the JSON of a 200. A trailing underscore is dropped, for `from_`."""

    def ask(path: str, **parameters: Any) -> Any:
        response = client.get(path, query_string=_query(parameters))
        assert response.status_code == 200, response.text
        return response.get_json()

    return ask


@pytest.fixture
def refused(client: FlaskClient) -> Callable[..., tuple[int, str, str]]:
    """refused(path, **parameters): status, reason and message of an error."""

    def ask(path: str, **parameters: Any) -> tuple[int, str, str]:
        response = client.get(path, query_string=_query(parameters))
        error = response.get_json()["error"]
        assert sorted(error) == ["message", "reason"]
        return response.status_code, error["reason"], error["message"]

    return ask
