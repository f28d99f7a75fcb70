"""The drop ledger: what was refused or dropped becomes counters like any other, by site and reason.

Counts are gathered for a moment and go onto the stream as one event per site. They are what a process knows when it
ends in order; one that is killed loses its last moment.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from ingest.delivery import Retries, deliver, records_of
from liveinsight.buckets import local_day_and_hour
from liveinsight.clock import Clock
from liveinsight.errors import LiveInsightError
from liveinsight.events import LEDGER, Event
from liveinsight.stream import Stream

_log = logging.getLogger(__name__)

GATHER_SECONDS = 1.0
"""How long counts are gathered before they go onto the stream."""


class Ledger:
    """Counts what was not let through. Thread safe.

    Args:
        sites: time zones by site; reasons of other sites go to the first of them.
        stream: where the counts go.
        clock: current time.
        gather_seconds: see `GATHER_SECONDS`; 0 sends nothing by itself, only at `send`.
    """

    def __init__(
        self, sites: Mapping[str, ZoneInfo], stream: Stream, clock: Clock, *, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        self._sites = sites
        self._default_site = next(iter(sites))
        self._stream = stream
        self._clock = clock
        self._gather_seconds = gather_seconds
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._timer: threading.Timer | None = None
        self._writer = _random63()

    def note(self, site: str | None, reason: str, count: int = 1) -> None:
        """Count events of a site that were not let through."""
        with self._lock:
            known = site if site in self._sites else None
            self._counts.setdefault(known or self._default_site, Counter())[reason] += count
            if self._timer is None and self._gather_seconds:
                self._timer = threading.Timer(self._gather_seconds, self._send_later)
                self._timer.daemon = True
                self._timer.start()

    def send(self) -> None:
        """Put what was gathered onto the stream.

        Raises:
            LiveInsightError: the stream did not take them; the counts are kept for the next time.
        """
        with self._lock:
            counts, self._counts, self._timer = self._counts, {}, None
        if not counts:
            return
        try:
            deliver(
                self._stream, records_of([self._event(site, reasons) for site, reasons in counts.items()]), Retries()
            )
        except LiveInsightError:
            for site, reasons in counts.items():
                for reason, count in reasons.items():
                    self.note(site, reason, count)
            raise

    def _send_later(self) -> None:
        try:
            self.send()
        except LiveInsightError as problem:
            _log.warning("action=ledger detail=%s", problem)

    def _event(self, site: str, reasons: Counter[str]) -> Event:
        now = self._clock()
        day, hour = local_day_and_hour(now, self._sites[site])
        return Event(
            site=site,
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
