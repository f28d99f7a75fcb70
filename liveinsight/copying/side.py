"""One side of a copy: its items and dead letters, read and written with patience.

In: a backend. Out: pages of items in an order that stays, every call tried again when the store does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

from liveinsight.copying.tally import Moved
from liveinsight.model.clock import Clock
from liveinsight.model.errors import StoreUnavailable, StreamUnavailable
from liveinsight.runtime.retry import Sleep, retry_within
from liveinsight.storage.backend import Backend
from liveinsight.storage.generation_pointer import FIRST
from liveinsight.storage.items import Page, StoredItem
from liveinsight.storage.store import DeadLetter

RETRY_SECONDS = 120
"""How long a call is tried again before the copy ends."""
LETTERS = 100
"""Dead letters of a page."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class Side:
    """A backend, as a copy sees it.

    Args:
        backend: where.
        clock: current time.
        sleep: waits between attempts.
    """

    def __init__(self, backend: Backend, clock: Clock, sleep: Sleep) -> None:
        self.backend = backend
        self.first = backend.store(FIRST)
        self._clock = clock
        self._sleep = sleep

    def pages(self, generation: int, after: str = "") -> Iterator[Page]:
        """The pages of a generation's items behind a position."""
        items = self.backend.items(generation)
        while page := self.patiently(items.page, after):
            yield page
            after = page.position

    def letters(self, generation: int) -> Iterator[DeadLetter]:
        """The dead letters of a generation."""
        store, after = self.backend.store(generation), ""
        while summaries := self.patiently(store.list_dead_letters, LETTERS, after):
            for summary in summaries:
                if letter := self.patiently(store.load_dead_letter, summary.mark):
                    yield letter
            after = summaries[-1].mark

    def everything(self, generation: int) -> Iterator[Moved]:
        """Items and dead letters."""
        for page in self.pages(generation):
            yield from page.items
        yield from self.letters(generation)

    def put(self, generation: int, items: Sequence[StoredItem]) -> None:
        """Write items over what is there."""
        self.patiently(self.backend.items(generation).put_items, items)

    def put_letters(self, generation: int, letters: Sequence[DeadLetter]) -> None:
        """Write dead letters over what is there."""
        self.patiently(self.backend.store(generation).write_dead_letters, letters)

    def differing(self, generation: int, items: Sequence[StoredItem]) -> list[StoredItem]:
        """Those of `items` that are not stored exactly so."""
        return self.patiently(self.backend.items(generation).differing, items)

    def has(self, generation: int, letter: DeadLetter) -> bool:
        """Whether a dead letter is stored exactly so."""
        return self.patiently(self.backend.store(generation).load_dead_letter, letter.mark) == letter

    def patiently(self, call: Callable[Given, Answer], *args: Given.args, **named: Given.kwargs) -> Answer:
        """The answer of a call, made again while store or stream do not answer or throttle."""
        return retry_within(
            RETRY_SECONDS,
            lambda: call(*args, **named),
            (StoreUnavailable, StreamUnavailable),
            elapsed=lambda: self._clock() / 1000,
            sleep=self._sleep,
        )
