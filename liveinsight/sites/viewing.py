"""Which sites are being looked at: only of these does the processor publish previews.

    API: a question that previews would answer  ->  note(site), in the background, at most every `NOTE_MS`
    processor: before it publishes previews     ->  sites()

It is one document of the first generation: site to the time (epoch ms) until which it counts as viewed. A note that is
lost in a conflict comes again with a later question.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.sites.cache import in_thread
from liveinsight.storage.store import Document, DocumentStore

VIEWED = "viewed"
KEEP_MS = 120_000
"""How long a site counts as viewed after a question."""
NOTE_MS = 30_000
"""How often a process notes the same site."""
MAX_SITES = 500
"""Sites in the document; further ones have to wait."""

logger = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(dict[str, int]).decode


class Viewing:
    """Notes and tells which sites are viewed. Thread safe.

    Args:
        store: of the first generation.
        clock: current time.
        run: runs a note in the background; tests run it at once.
    """

    def __init__(
        self, store: DocumentStore, clock: Clock, *, run: Callable[[Callable[[], None]], None] = in_thread
    ) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._noted: dict[str, int] = {}

    def note(self, site: str) -> None:
        """A site is being looked at. Never raises, and does not wait."""
        now = self._clock()
        if not 0 <= now - self._noted.get(site, -NOTE_MS) < NOTE_MS:
            self._noted[site] = now
            self._run(lambda: self._write(site, now))

    def sites(self) -> frozenset[str]:
        """The sites that are being looked at.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        now = self._clock()
        _, until = self._load()
        return frozenset(site for site, end in until.items() if end > now)

    def _write(self, site: str, now: int) -> None:
        try:
            version, until = self._load()
            kept = {name: end for name, end in until.items() if end > now and name != site}
            if len(kept) < MAX_SITES:
                text = msgspec.json.encode({**kept, site: now + KEEP_MS}).decode()
                self._store.save_document(VIEWED, Document(version + 1, text))
        except LiveInsightError as problem:
            logger.warning(
                "not noted that a site is viewed: its breakdowns and sessions are as old as the last full flush",
                extra={"action": "viewing", "site": site, "problem": str(problem)},
            )

    def _load(self) -> tuple[int, dict[str, int]]:
        document = self._store.load_document(VIEWED)
        return document.version, _decode(document.text) if document.version else {}
