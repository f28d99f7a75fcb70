"""The sites as a running process knows them: a copy that is a few seconds old at most, and never in the way.

    requests     sites() sites() sites()   ...   sites() sites()
    refreshing               `- load, aside -'                       every `REFRESH_MS` while somebody asks

In: a way to load the sites. Out: the sites of a moment ago, at the cost of a comparison. Promises: a change is seen
within `STALE_MS` and a read, also by a process that had nothing to do for hours; a store that is away or slow delays
requests by `PATIENCE_SECONDS` at most, once per outage, and the last known sites stay in use.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.sites.site import Sites

REFRESH_MS = 2_000
"""How old the copy may be before it is loaded again."""
STALE_MS = 4_000
"""A copy that is older (nobody has asked for a while) is waited for."""
PATIENCE_SECONDS = 0.3
"""How long a request waits for what is stale, if the store has answered before."""
FIRST_PATIENCE_SECONDS = 1.0
"""How long a request waits while another one loads the sites for the first time."""
LOST_MS = 60_000
"""A refresh that takes longer is given up: its thread may have stayed behind in a process that was forked."""

SitesNow = Callable[[], Sites]
"""Gives the sites that hold now."""

logger = logging.getLogger(__name__)


def in_thread(work: Callable[[], None]) -> None:
    """Do something aside."""
    threading.Thread(target=work, name="sites", daemon=True).start()


class SiteDirectory:
    """Gives the current sites when called. Thread safe.

    Args:
        load: reads the sites from the store.
        clock: current time.
        aside: runs a refresh; tests run it at once.
    """

    def __init__(
        self, load: SitesNow, clock: Clock, *, aside: Callable[[Callable[[], None]], None] = in_thread
    ) -> None:
        self._load = load
        self._clock = clock
        self._aside = aside
        self._lock = threading.Lock()
        self._sites: Sites | None = None
        self._loaded_at = 0
        self._tried_at = 0
        self._began_at = 0
        self._done: threading.Event | None = None
        """Set when the refresh that is under way has ended."""
        self._away = False
        self._patient = True
        """Whether the store has answered in time when it was last waited for."""

    def __call__(self) -> Sites:
        """The sites.

        Raises:
            StoreUnavailable: they were never loaded, and cannot be now.
        """
        now = self._clock()
        sites = self._sites
        if sites is None:
            return self._first(now)
        # A clock that was set back must not freeze the copy.
        if 0 <= now - self._tried_at < REFRESH_MS:
            return sites
        return self._refreshed(sites, now)

    def _first(self, now: int) -> Sites:
        # Nobody can be answered before this, so all wait for one read.
        if not self._lock.acquire(timeout=FIRST_PATIENCE_SECONDS):
            raise StoreUnavailable("the sites are still being loaded")
        try:
            if self._sites is None:
                if self._away and 0 <= now - self._tried_at < REFRESH_MS:
                    raise StoreUnavailable("the sites could not be loaded a moment ago")
                self._load_first(now)
            assert self._sites is not None
            return self._sites
        finally:
            self._lock.release()

    def _load_first(self, now: int) -> None:
        self._tried_at = now
        try:
            self._sites = self._load()
            self._loaded_at, self._away = now, False
        except LiveInsightError as problem:
            self._away = True
            raise StoreUnavailable(f"the sites cannot be loaded: {problem}") from problem

    def _refreshed(self, known: Sites, now: int) -> Sites:
        with self._lock:
            done = self._done
            starts = done is None or not 0 <= now - self._began_at < LOST_MS
            if done is None or starts:
                done = self._done = threading.Event()
                self._began_at = now
            wait = self._patient and not 0 <= now - self._loaded_at < STALE_MS
        if starts:
            self._aside(lambda: self._refresh(done, now))
        if wait and not done.wait(PATIENCE_SECONDS):
            self._patient = False
        return self._sites or known

    def _refresh(self, done: threading.Event, now: int) -> None:
        try:
            self._sites = self._load()
            self._loaded_at, self._away, self._patient = now, False, True
        except LiveInsightError as problem:
            self._patient = False
            if not self._away:
                logger.warning(
                    "sites cannot be read; the last known ones hold: %s", problem, extra={"action": "keep_sites"}
                )
            self._away = True
        finally:
            self._tried_at = now
            with self._lock:
                if self._done is done:
                    self._done = None
            done.set()
