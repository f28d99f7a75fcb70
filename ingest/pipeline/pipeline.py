"""The path from payloads to acknowledged events, without HTTP: the server and the importer both call it.

parse (`parsing`) -> make_event (`steps`) -> commit (`ingest.delivery.group_commit`)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from ingest.contract.reasons import Reason
from ingest.delivery.commit_batch import Placement
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.drop_ledger import Ledger
from ingest.pipeline.identity import SaltOf, made_id
from ingest.pipeline.parsing import Parsed, parse
from ingest.pipeline.sender import RequestSenders
from ingest.pipeline.steps import make_event
from liveinsight.model.errors import InvalidPayload
from liveinsight.model.events import Event
from liveinsight.sites.cache import SitesNow


class Accepted(Struct, frozen=True, gc=False):
    """An event that is on the stream; `id` is the payload's own, or made from its content."""

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
    """The result of each event, by its index in the request."""

    accepted: list[Accepted] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """The accepted events, in the order of `accepted`."""
    placements: list[Placement] = field(default_factory=list)
    """Where they are on the stream; empty unless asked for."""
    dropped: list[Dropped] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which refused events may be sent again."""
        return max(1, *(math.ceil(one.error.retry_after) for one in self.refused)) if self.refused else 0


class Commit(Protocol):
    """Puts events on the stream, and returns when they are acknowledged: `GroupCommit`."""

    def __call__(self, events: Sequence[Event], *, locate: bool = False) -> list[Placement]:
        """Placements, in the order of the events, if `locate`."""


class Pipeline:
    """Takes payloads for a set of sites and puts their events on a stream. Thread safe.

    Args:
        sites: gives the current sites.
        commit: puts events on the stream.
        salt_of: salt for visitors without an id.
        policy: what differs between live traffic and an import.
        ledger: where refused and dropped events are counted; None counts them nowhere.
    """

    def __init__(
        self,
        sites: SitesNow,
        commit: Commit,
        salt_of: SaltOf,
        *,
        policy: Policy | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._sites = sites
        self._commit = commit
        self._salt_of = salt_of
        self._policy = policy or Policy()
        self._ledger = ledger

    def collect(self, body: bytes, context: Context) -> Outcome:
        """Take a request body. Returns when all of its accepted events are acknowledged.

        Raises:
            InvalidPayload: the body as a whole is refused.
            StreamUnavailable, StoreUnavailable: nothing is promised; send it all again.
        """
        return self.collect_each((parsed, context) for parsed in parse(body))

    def collect_each(self, items: Iterable[tuple[Parsed, Context]], *, locate: bool = False) -> Outcome:
        """As `collect`, for parsed payloads with a context each; `locate` asks for placements."""
        outcome = Outcome()
        senders = RequestSenders(self._sites(), self._policy)
        for index, (parsed, context) in enumerate(items):
            if isinstance(parsed, InvalidPayload):
                self._refuse(outcome, index, None, parsed)
                continue
            try:
                made = make_event(parsed, context, senders, self._policy, self._salt_of)
            except InvalidPayload as invalid:
                self._refuse(outcome, index, parsed.site, invalid)
                continue
            if isinstance(made, Reason):
                outcome.dropped.append(Dropped(index, made))
                self._note(parsed.site, made)
            else:
                outcome.events.append(made)
                outcome.accepted.append(Accepted(index, parsed.id or made_id(made)))
        if outcome.events:
            outcome.placements = self._commit(outcome.events, locate=locate)
        return outcome

    def _refuse(self, outcome: Outcome, index: int, site: str | None, invalid: InvalidPayload) -> None:
        outcome.refused.append(Refused(index, invalid))
        self._note(site, invalid.reason)

    def _note(self, site: str | None, reason: str) -> None:
        if self._ledger:
            self._ledger.note(site, str(reason))
