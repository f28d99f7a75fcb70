"""What comes with a payload from outside of it, and the rules that a caller may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.cardinality import ValueGuard
from ingest.limits import MAX_AGE_MS


@dataclass(frozen=True, slots=True)
class Context:
    """Facts about a request. The address is used for the visitor's hash, and shown nowhere."""

    received_at: int
    client_address: str = field(default="", repr=False)
    user_agent: str = ""
    accept_language: str = ""
    country: str = ""
    anonymous: bool = False
    """The visitor asked not to be tracked: ids that the page gives are not used."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What differs between live traffic and an import. `max_age_ms` None takes events of any age."""

    max_age_ms: int | None = MAX_AGE_MS
    drop_bots: bool = True
    session_gaps: Mapping[str, int] = field(default_factory=dict)
    """Minutes without activity that end a session, for sites that set their own."""
    guard: ValueGuard | None = None
