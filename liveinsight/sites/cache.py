"""The copy of the sites that a process keeps, refreshed in the background.

    requests     sites() sites() sites()   ...   sites() sites()
    refresh                 `- load in a thread -'                   every `REFRESH_MS` while requests come

In: a function that loads the sites. Out: the sites as of some seconds ago. Promises: a process sees a change within
`STALE_MS` and one read, also after idle hours; an unavailable or slow store delays requests by `PATIENCE_SECONDS` at
most, once per outage, and the last known sites stay in use.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.sites.site import Sites

REFRESH_MS = 2_000
"""Age at which the copy is loaded again."""
STALE_MS = 4_000
"""Age at which a request waits for the refresh."""
PATIENCE_SECONDS = 0.3
"""How long a request waits for a refresh, if the store answered last time."""
FIRST_PATIENCE_SECONDS = 1.0
"""How long a request waits while another one makes the first load."""
LOST_MS = 60_000
"""Age at which a refresh counts as lost: a fork does not copy its thread."""

SitesNow = Callable[[], Sites]
"""Returns the current sites."""

logger = logging.getLogger(__name__)


def in_thread(work: Callable[[], None]) -> None:
    """Run `work` in the background."""
    threading.Thread(target=work, name="sites", daemon=True).start()


class SiteDirectory:
    """Returns the current sites when called. Thread safe.

    Args:
        load: reads the sites from the store.
        clock: current time.
        run: runs a refresh in the background; tests run it at once.
    """

    def __init__(self, load: SitesNow, clock: Clock, *, run: Callable[[Callable[[], None]], None] = in_thread) -> None:
        self._load = load
        self._clock = clock
        self._run = run
        self._lock = threading.Lock()
        self._sites: Sites | None = None
        self._loaded_at = 0
        self._tried_at = 0
        self._began_at = 0
        self._done: threading.Event | None = None
        """Set at the end of the running refresh."""
        self._failed = False
        self._patient = True
        """Whether the store answered the last wait in time."""

    def __call__(self) -> Sites:
        """The sites.

        Raises:
            StoreUnavailable: they were never loaded, and cannot be loaded now.
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
        # No request can be answered without the sites, so all wait for one read.
        if not self._lock.acquire(timeout=FIRST_PATIENCE_SECONDS):
            raise StoreUnavailable("the sites are still being loaded")
        try:
            if self._sites is None:
                if self._failed and 0 <= now - self._tried_at < REFRESH_MS:
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
            self._loaded_at, self._failed = now, False
        except LiveInsightError as problem:
            self._failed = True
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
            self._run(lambda: self._refresh(done, now))
        if wait and not done.wait(PATIENCE_SECONDS):
            self._patient = False
        return self._sites or known

    def _refresh(self, done: threading.Event, now: int) -> None:
        try:
            self._sites = self._load()
            self._loaded_at, self._failed, self._patient = now, False, True
        except LiveInsightError as problem:
            self._patient = False
            if not self._failed:
                logger.warning(
                    "the sites cannot be read; the last known ones stay in use: %s",
                    problem,
                    extra={"action": "keep_sites"},
                )
            self._failed = True
        finally:
            self._tried_at = now
            with self._lock:
                if self._done is done:
                    self._done = None
            done.set()
