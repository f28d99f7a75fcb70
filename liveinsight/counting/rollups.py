"""The table of what is counted. A new dimension or measure is one entry here, and nothing else.

Two kinds of facts are counted:

* an **event** is booked where it happened (its 15-minute bucket, its site-local day);
* a **visit** (one session without a gap) is booked where it *started*, as one bundle of measures that
  later events of the session correct. All of a visit's rows move together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import attrgetter

import msgspec

from liveinsight.model.events import CLICK, CONVERSION, ENGAGEMENT, HEARTBEAT, PAGE_EXIT, PAGE_VIEW, Event

Measures = dict[str, int]


class Scope(Enum):
    """What a dimension's rows count."""

    EVENT = "event"
    VISIT = "visit"
    LEDGER = "ledger"


@dataclass(frozen=True)
class Dimension:
    """One way to break the numbers down.

    Args:
        name: its name in the API.
        scope: `Scope.EVENT` rows hold the measures of single events, `Scope.VISIT` rows those of visits,
            `Scope.LEDGER` rows the number of events that were not counted.
        field: attribute of the `Event` (event scope, or the visit's first event) or of the `Session`
            (when `of_session`) that holds the value.
        main: measure that an answer is sorted by.
        of_session: the value is kept by the session itself and may change while the visit goes on.
        empty: the value shown instead of an empty one; None leaves it out.
        live: visitors present now are counted by it, too.
        stored_with: another dimension with the same values, in whose items this one's counters are stored.
        lg_k: its sketches of visitors have 2^`lg_k` rows.
    """

    name: str
    scope: Scope
    field: str
    main: str
    of_session: bool = False
    empty: str | None = None
    live: bool = False
    stored_with: str = ""
    lg_k: int = 11


DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("page", Scope.EVENT, "page", "pageviews", live=True),
    Dimension("event", Scope.EVENT, "type", "events"),
    Dimension("conversion_type", Scope.EVENT, "conversion_type", "conversions"),
    Dimension("entry_page", Scope.VISIT, "entry_page", "visits", of_session=True, stored_with="page", lg_k=10),
    Dimension("exit_page", Scope.VISIT, "exit_page", "visits", of_session=True, stored_with="page", lg_k=10),
    Dimension("source", Scope.VISIT, "source", "visits", empty="(direct)", live=True),
    Dimension("channel", Scope.VISIT, "channel", "visits", empty="Direct"),
    Dimension("utm_source", Scope.VISIT, "utm_source", "visits"),
    Dimension("utm_medium", Scope.VISIT, "utm_medium", "visits"),
    Dimension("utm_campaign", Scope.VISIT, "utm_campaign", "visits"),
    Dimension("utm_term", Scope.VISIT, "utm_term", "visits"),
    Dimension("utm_content", Scope.VISIT, "utm_content", "visits"),
    Dimension("country", Scope.VISIT, "country", "visits", empty="(unknown)", live=True),
    Dimension("region", Scope.VISIT, "region", "visits"),
    Dimension("device", Scope.VISIT, "device", "visits", empty="(unknown)"),
    Dimension("browser", Scope.VISIT, "browser", "visits", empty="(unknown)"),
    Dimension("os", Scope.VISIT, "os", "visits", empty="(unknown)"),
    Dimension("language", Scope.VISIT, "language", "visits", empty="(unknown)"),
    Dimension("dropped", Scope.LEDGER, "reason", "events"),
)

BY_NAME = {dimension.name: dimension for dimension in DIMENSIONS}

TOTALS_LG_K = 12
"""Totals are few and compared most, so their sketches have the most rows."""


def lg_k_of(kind: str, dimension: str) -> int:
    """Rows of a counter's sketch, as a power of two, by the counter's kind and dimension (see `keys.CounterKey`)."""
    if kind == "totals":
        return TOTALS_LG_K
    return BY_NAME[dimension].lg_k if dimension in BY_NAME else Dimension.lg_k


def relative_error(lg_k: int) -> float:
    """Standard error of a CPC sketch of 2^`lg_k` rows, as a share of the count: ln 2 / sqrt(rows), merged or not (Lang,
    "Back to the Future: an Even More Nearly Optimal Cardinality Estimation Algorithm", 2017)."""
    return math.log(2) / math.sqrt(1 << lg_k)


_EVENT_SCOPED = tuple(d for d in DIMENSIONS if d.scope is Scope.EVENT)
_FROM_FIRST_EVENT = tuple(d for d in DIMENSIONS if d.scope is Scope.VISIT and not d.of_session)
LIVE_OF_EVENT = tuple((d.name, d.field) for d in DIMENSIONS if d.live and d.scope is Scope.EVENT)
LIVE_OF_VISIT = tuple(d.name for d in DIMENSIONS if d.live and d.scope is Scope.VISIT)
FROM_SESSION = tuple((d.name, d.field) for d in DIMENSIONS if d.of_session)

STORED_WITH = {d.name: d.stored_with for d in DIMENSIONS if d.stored_with}
"""Dimension name to the dimension whose items hold its counters."""

OTHER = "(other)"
"""Value that stands for all beyond a site's cap."""

MEASURES_BY_TYPE: dict[str, Measures] = {
    PAGE_VIEW: {"events": 1, "pageviews": 1},
    CLICK: {"events": 1, "clicks": 1},
    CONVERSION: {"events": 1, "conversions": 1},
    PAGE_EXIT: {"events": 1},
    HEARTBEAT: {"events": 1, "heartbeats": 1},
    ENGAGEMENT: {"events": 1},
}
MEASURE_CODES = (
    "events", "pageviews", "visits", "bounces", "duration_ms", "engaged_ms", "scroll_percent", "scroll_reports",
    "clicks", "conversions", "heartbeats", "custom_events", "duplicates", "active",
)  # fmt: skip
"""Measures stored by their index here: append only. Others are stored by name."""

_CUSTOM: Measures = {"events": 1, "custom_events": 1}

NOT_INTERACTIVE = frozenset({PAGE_VIEW, PAGE_EXIT, HEARTBEAT, ENGAGEMENT})
"""Events that do not end a bounce."""

REVENUE_PREFIX = "revenue:"
"""Revenue is one measure per currency, in minor units: ``revenue:EUR``."""


def event_measures(event: Event) -> Measures:
    """The measures of one event. The result may be shared: do not change it."""
    measures = MEASURES_BY_TYPE.get(event.type, _CUSTOM)
    if event.revenue or event.engaged_ms or event.scroll_percent:
        measures = dict(measures)
        if event.revenue and event.currency:
            measures[REVENUE_PREFIX + event.currency] = event.revenue
        if event.engaged_ms:
            measures["engaged_ms"] = event.engaged_ms
        if event.scroll_percent and event.type == PAGE_EXIT:
            # The last report of a view is the deepest: earlier ones are not counted.
            measures["scroll_percent"] = event.scroll_percent
            measures["scroll_reports"] = 1
    return measures


Rows = tuple[tuple[str, str], ...]
"""(dimension, value) pairs."""

event_values: Callable[[Event], tuple[str, ...]] = attrgetter(*(d.field for d in _EVENT_SCOPED))
"""The values that decide the event-scoped rows of an event."""
_visit_values: Callable[[Event], tuple[str, ...]] = attrgetter(*(d.field for d in _FROM_FIRST_EVENT))
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Rows)


def event_rows(values: tuple[str, ...]) -> Rows:
    """The event-scoped rows of `event_values`."""
    return tuple((d.name, value) for d, value in zip(_EVENT_SCOPED, values, strict=True) if value)


def visit_rows(event: Event) -> bytes:
    """The visit-scoped rows, by the visit's first event; packed, since states are read and written often."""
    return _visit_rows(_visit_values(event))


@lru_cache(maxsize=16_384)
def _visit_rows(values: tuple[str, ...]) -> bytes:
    rows = ((d.name, value or d.empty) for d, value in zip(_FROM_FIRST_EVENT, values, strict=True))
    return _encoder.encode([row for row in rows if row[1]])


@lru_cache(maxsize=16_384)
def unpack_rows(rows: bytes) -> Rows:
    """Inverse of `visit_rows`."""
    return _decoder.decode(rows)
