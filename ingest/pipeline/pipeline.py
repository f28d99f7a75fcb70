"""The path from payloads to acknowledged records, without HTTP: the server and the importer both call it.

parse -> enrich -> group into records -> deliver
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from ingest.contract.reasons import Reason
from ingest.delivery.direct import Retries, deliver, records_of
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.drop_ledger import Ledger
from ingest.pipeline.enrich import enrich
from ingest.pipeline.identity import SaltOf, made_id
from ingest.pipeline.parsing import Parsed, parse
from ingest.pipeline.sender import Senders
from liveinsight.model.errors import InvalidPayload
from liveinsight.model.events import Event
from liveinsight.sites.cache import SitesNow
from liveinsight.storage.stream import Sink


class Accepted(Struct, frozen=True, gc=False):
    """An event that is on the stream; `id` is the payload's own, or one that we have made for it."""

    index: int
    id: str


class Dropped(Struct, frozen=True):
    """A valid event that is deliberately not counted."""

    index: int
    reason: Reason


class Refused(Struct, frozen=True):
    """An invalid event."""

    index: int
    error: InvalidPayload


@dataclass
class Outcome:
    """What became of each event, by its index in the request."""

    accepted: list[Accepted] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which what came too fast may come again."""
        return max(1, *(math.ceil(one.error.retry_after) for one in self.refused)) if self.refused else 0


class Pipeline:
    """Takes payloads for a set of sites and puts their events on a stream. Thread safe.

    Args:
        sites: gives the sites that hold now.
        stream: where records go.
        salt_of: salt for visitors without an id.
        policy: what live traffic and an import do differently.
        ledger: where refused and dropped events are counted; None counts them nowhere.
        retries: how to insist when the stream takes only a part.
        commit: puts events onto the stream instead, and returns when they are acknowledged.
    """

    def __init__(
        self,
        sites: SitesNow,
        stream: Sink,
        salt_of: SaltOf,
        *,
        policy: Policy | None = None,
        ledger: Ledger | None = None,
        retries: Retries | None = None,
        commit: Callable[[Sequence[Event]], None] | None = None,
    ) -> None:
        self._sites = sites
        self._stream = stream
        self._salt_of = salt_of
        self._policy = policy or Policy()
        self._ledger = ledger
        self._retries = retries or Retries()
        self._commit = commit or self._deliver

    def collect(self, body: bytes, context: Context) -> Outcome:
        """Take a request body. Returns when all of its good events are acknowledged.

        Raises:
            InvalidPayload: the body as a whole is refused.
            StreamUnavailable, StoreUnavailable: nothing is promised; send it all again.
        """
        return self.collect_each((parsed, context) for parsed in parse(body))

    def collect_each(self, items: Iterable[tuple[Parsed, Context]]) -> Outcome:
        """As `collect`, for payloads that are parsed already and each have a context of their own."""
        outcome, events = self.judge(items)
        if events:
            self._commit(events)
        return outcome

    def judge(self, items: Iterable[tuple[Parsed, Context]]) -> tuple[Outcome, list[Event]]:
        """What is to become of each payload, and the events of the accepted ones, in order. Nothing is delivered."""
        outcome = Outcome()
        events: list[Event] = []
        senders = Senders(self._sites(), self._policy)
        for index, (parsed, context) in enumerate(items):
            if isinstance(parsed, InvalidPayload):
                outcome.refused.append(Refused(index, parsed))
                self._note(None, parsed.reason)
                continue
            try:
                sender = senders.of(parsed.site, context)
                result = enrich(parsed, context, sender, self._policy, self._salt_of)
            except InvalidPayload as refusal:
                outcome.refused.append(Refused(index, refusal))
                self._note(parsed.site, refusal.reason)
                continue
            if isinstance(result, Reason):
                outcome.dropped.append(Dropped(index, result))
                self._note(parsed.site, result)
            else:
                events.append(result)
                outcome.accepted.append(Accepted(index, parsed.id or made_id(result)))
        return outcome, events

    def _deliver(self, events: Sequence[Event]) -> None:
        deliver(self._stream, records_of(events), self._retries)

    def _note(self, site: str | None, reason: str) -> None:
        if self._ledger:
            self._ledger.note(site, str(reason))
