"""The path from payloads to acknowledged records, without HTTP: the server and the importer both call it.

parse -> enrich -> group into records -> deliver
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from ingest.context import Context, Policy
from ingest.delivery import Retries, deliver, records_of
from ingest.enrich import Sites, enrich
from ingest.identity import SaltOf
from ingest.ledger import Ledger
from ingest.parsing import Parsed, parse
from ingest.reasons import Reason
from liveinsight.errors import InvalidPayload
from liveinsight.events import Event
from liveinsight.stream import Stream


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that is on the stream; `id` is the payload's own."""

    index: int
    id: str | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A valid event that is deliberately not counted."""

    index: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """An invalid event."""

    index: int
    error: InvalidPayload


@dataclass
class Outcome:
    """What became of each event, by its index in the request."""

    accepted: list[Accepted] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


class Pipeline:
    """Takes payloads for a set of sites and puts their events on a stream. Thread safe.

    Args:
        sites: time zones by site.
        default_site: the site of payloads that name none.
        stream: where records go.
        salt_of: salt for visitors without an id.
        policy: what live traffic and an import do differently.
        ledger: where refused and dropped events are counted; None counts them nowhere.
        retries: how to insist when the stream takes only a part.
    """

    def __init__(
        self,
        sites: Mapping[str, ZoneInfo],
        default_site: str,
        stream: Stream,
        salt_of: SaltOf,
        *,
        policy: Policy | None = None,
        ledger: Ledger | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._sites = Sites(sites, default_site)
        self._stream = stream
        self._salt_of = salt_of
        self._policy = policy or Policy()
        self._ledger = ledger
        self._retries = retries or Retries()

    def collect(self, body: bytes, context: Context) -> Outcome:
        """Take a request body. Returns when all of its good events are acknowledged.

        Raises:
            InvalidPayload: the body as a whole is refused.
            StreamUnavailable, StoreUnavailable: nothing is promised; send it all again.
        """
        return self.collect_each((parsed, context) for parsed in parse(body))

    def collect_each(self, items: Iterable[tuple[Parsed, Context]]) -> Outcome:
        """As `collect`, for payloads that are parsed already and each have a context of their own."""
        outcome = Outcome()
        events: list[Event] = []
        for index, (parsed, context) in enumerate(items):
            if isinstance(parsed, InvalidPayload):
                outcome.refused.append(Refused(index, parsed))
                self._note(None, parsed.reason)
                continue
            try:
                result = enrich(parsed, context, self._policy, self._sites, self._salt_of)
            except InvalidPayload as refusal:
                outcome.refused.append(Refused(index, refusal))
                self._note(parsed.site, refusal.reason)
                continue
            if isinstance(result, Reason):
                outcome.dropped.append(Dropped(index, result))
                self._note(parsed.site, result)
            else:
                events.append(result)
                outcome.accepted.append(Accepted(index, parsed.id))
        if events:
            deliver(self._stream, records_of(events), self._retries)
        return outcome

    def _note(self, site: str | None, reason: str) -> None:
        if self._ledger:
            self._ledger.note(site, str(reason))
