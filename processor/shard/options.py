"""Cadences, limits and sizes of a record processor. Tests make them small; operators set some in the environment."""

from __future__ import annotations

import msgspec

from liveinsight.settings import Settings


class ProcessorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds unless the name says days. Sizes are per shard."""

    counters_interval: float = 1.0
    previews_interval: float = 5.0
    sessions_interval: float = 60.0
    session_days: int = 7
    timeline_days: int = 30
    give_up_after: float = 300.0
    """How long one flush is retried before the process gives up."""
    drain_within: float = 20.0
    dead_letter_limit: float = 0.2
    fold_slice: int = 250
    """Events folded in one step. The states of their visitors are objects meanwhile, and should fit the CPU's cache."""
    counter_slice: int = 1_000
    """Counter items written in one step."""
    visitor_slice: int = 1_000
    """Visitors written in one step."""
    pending_limit: int = 100_000
    """Pending contributions that force a flush: some 12,000 events, or 30 MB."""
    cached_counters: int = 50_000
    """Encoded counter items kept in memory; the most recently used stay."""
    cached_visitors: int = 50_000
    """Written visitors kept in memory; the most recently used stay."""
    uncompressed_visitors: int = 4_000
    """Unwritten visitors kept uncompressed: their next event may come before they are written."""
    previewed_visitors: int = 100
    """Visitors in the preview of one site: a few kilobytes, and more than a screen shows."""
    preview_bytes: int = 300_000
    """Rows of one preview, which is one item: DynamoDB allows 400 KB."""

    @classmethod
    def from_settings(cls, settings: Settings) -> ProcessorOptions:
        """The options with the cadences and limits that `settings` name."""
        return cls(
            counters_interval=settings.counters_interval,
            previews_interval=settings.previews_interval,
            sessions_interval=settings.sessions_interval,
            session_days=settings.session_days,
            timeline_days=settings.timeline_days,
            dead_letter_limit=settings.dead_letter_limit,
        )
