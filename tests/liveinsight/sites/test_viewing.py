"""Which sites are looked at: noted by the API, read by the processor."""

from __future__ import annotations

import pytest

from liveinsight.model.errors import StoreUnavailable
from liveinsight.sites.viewing import Viewing
from liveinsight.storage.store import Document
from liveinsight.testing.builders import FakeClock
from liveinsight.testing.memory_store import MemoryStore


class Counting(MemoryStore):
    """Counts writes, and refuses them when told."""

    writes = 0
    down = False

    def save_document(self, name: str, document: Document) -> bool:
        if self.down:
            raise StoreUnavailable("throttled")
        self.writes += 1
        return super().save_document(name, document)


def viewing(store: MemoryStore, clock: FakeClock) -> Viewing:
    return Viewing(store, clock, run=lambda work: work())


def test_a_site_counts_as_viewed_for_two_minutes(clock: FakeClock) -> None:
    """Several processes note sites of their own; each ends two minutes after its last question."""
    store = Counting()
    first, second = viewing(store, clock), viewing(store, clock)
    assert first.sites() == frozenset()
    first.note("a")
    second.note("b")
    assert second.sites() == {"a", "b"}
    clock.advance(seconds=100)
    first.note("a")
    clock.advance(seconds=30)
    assert second.sites() == {"a"}
    clock.advance(seconds=100)
    assert second.sites() == frozenset()


def test_many_questions_cost_one_write_in_half_a_minute(clock: FakeClock) -> None:
    """A dashboard that asks every second is noted twice a minute."""
    store = Counting()
    api = viewing(store, clock)
    for _ in range(60):
        api.note("a")
        clock.advance(seconds=1)
    assert store.writes == 2


def test_a_store_that_refuses_is_no_answer_less(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A note that cannot be written is logged, and comes again with a later question."""
    store = Counting()
    store.down = True
    api = viewing(store, clock)
    api.note("a")
    assert "not noted" in caplog.text
    store.down = False
    clock.advance(seconds=31)
    api.note("a")
    assert api.sites() == {"a"}
