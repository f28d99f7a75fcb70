"""The request that a payload came with, and what differs between live traffic and an import."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from ingest.contract.limits import MAX_AGE_MS
from ingest.enrichment.datacentres import DataCentres
from ingest.enrichment.geo import GeoDatabase
from ingest.pipeline.cardinality import ValueGuard
from ingest.pipeline.rate_limits import Rates


class Context(Struct, frozen=True, gc=False):
    """Facts about a request. The address is used for look-ups and the visitor's hash, and never shown."""

    received_at: int
    client_address: str = ""
    user_agent: str = ""
    accept_language: str = ""
    country: str = ""
    region: str = ""
    origin: str = ""
    """The page's origin, from the browser; empty if no browser sent the event."""
    opted_out: bool = False
    """The visitor asked not to be tracked; the site decides what follows."""

    def __repr__(self) -> str:
        return f"Context(received_at={self.received_at})"


@dataclass(frozen=True, slots=True)
class Policy:
    """What differs between live traffic and an import.

    Args:
        max_age_ms: None takes events of any age.
        drop_bots: None leaves it to the site.
        rates: None takes events as fast as they come.
        guard: None lets in any number of different values.
        geo: where addresses are, for requests that no trusted proxy has placed; None leaves it unknown.
        data_centres: addresses whose events are those of bots; None knows of none.
    """

    max_age_ms: int | None = MAX_AGE_MS
    drop_bots: bool | None = None
    rates: Rates | None = None
    guard: ValueGuard | None = None
    geo: GeoDatabase | None = None
    data_centres: DataCentres | None = None
