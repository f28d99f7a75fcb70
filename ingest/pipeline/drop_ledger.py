"""The drop ledger: refused and dropped events become counters like any other, by site and reason.

In: a site and a reason at a time. Out: every second one event per site, on the stream. A process that is killed loses
the counts of its last second.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from liveinsight.model.buckets import local_day_and_hour
from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError, StoreUnavailable
from liveinsight.model.events import LEDGER, Event
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.sites.cache import SitesNow
from liveinsight.sites.site import Site

logger = logging.getLogger(__name__)

GATHER_SECONDS = 1.0
"""How long counts are gathered before they go onto the stream."""


class Ledger:
    """Counts events that are refused or dropped. Thread safe.

    Args:
        sites: gives the current sites. Events of unknown sites are counted for the default one: so clients can
            neither make up rows nor write into them.
        commit: puts events on the stream, as `GroupCommit` does.
        clock: current time.
        gather_seconds: see `GATHER_SECONDS`; 0 sends only at `send`.
        metrics: counts them, too.
    """

    def __init__(
        self,
        sites: SitesNow,
        commit: Callable[[Sequence[Event]], object],
        clock: Clock,
        *,
        gather_seconds: float = GATHER_SECONDS,
        metrics: IngestMetrics | None = None,
    ) -> None:
        self._sites = sites
        self._commit = commit
        self._clock = clock
        self._gather_seconds = gather_seconds
        self._metrics = metrics
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._timer: threading.Timer | None = None
        self._writer = _random63()

    def note(self, site: str | None, reason: str, count: int = 1) -> None:
        """Count refused or dropped events of a site."""
        if self._metrics:
            self._metrics.refused.labels(reason).inc(count)
        self._add(self._known(site), reason, count)

    def _add(self, known: str, reason: str, count: int) -> None:
        with self._lock:
            self._counts.setdefault(known, Counter())[reason] += count
            if self._timer is None and self._gather_seconds:
                self._timer = threading.Timer(self._gather_seconds, self._send_later)
                self._timer.daemon = True
                self._timer.start()

    def send(self) -> None:
        """Put the gathered counts onto the stream.

        Raises:
            LiveInsightError: the stream did not take them; the counts are kept for the next time.
        """
        with self._lock:
            counts, self._counts, self._timer = self._counts, {}, None
        if not counts:
            return
        try:
            if events := self._events(counts):
                self._commit(events)
        except LiveInsightError:
            for site, reasons in counts.items():
                for reason, count in reasons.items():
                    self._add(site, reason, count)
            raise

    def _known(self, site: str | None) -> str:
        """A site's name, as far as it is one; "" is the default site, whichever that is when the counts are sent."""
        try:
            return site if site and site in self._sites().by_name else ""
        except StoreUnavailable:
            return ""

    def _send_later(self) -> None:
        try:
            self.send()
        except LiveInsightError as problem:
            logger.warning("dropped events are not on the stream yet: %s", problem, extra={"action": "drop_ledger"})

    def _events(self, counts: Mapping[str, Counter[str]]) -> list[Event]:
        sites = self._sites()
        by_site: dict[str, Counter[str]] = {}
        for name, reasons in counts.items():
            # The site may have been removed meanwhile. Without any site the counts are not shown anywhere.
            site = sites.by_name.get(name) or sites.find(None)
            if site:
                by_site.setdefault(site.name, Counter()).update(reasons)
        return [self._event(sites.by_name[name], reasons) for name, reasons in by_site.items()]

    def _event(self, site: Site, reasons: Counter[str]) -> Event:
        now = self._clock()
        day, hour = local_day_and_hour(now, site.zone)
        return Event(
            site=site.name,
            visitor=self._writer,
            event_id=_random63(),
            type=LEDGER,
            occurred_at=now,
            received_at=now,
            day=day,
            hour=hour,
            recent=False,
            props=dict(reasons),
        )


def _random63() -> int:
    return (int.from_bytes(os.urandom(8), "big") >> 1) or 1
