"""Types of answers that are made from counters. The OpenAPI document shows their schemas.

In: merged counter items. Out: rows. A ratio without a denominator is null, and so are measures that a dimension does
not count.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from liveinsight.counting.counters import CounterItem
from liveinsight.counting.rollups import REVENUE_PREFIX, Dimension, Scope, lg_k_of, relative_error


def visitors_error(dimension: str = "") -> float:
    """Two standard errors of a distinct count, relative: of totals, or of a dimension's rows. Small counts are near
    exact."""
    return round(2 * relative_error(lg_k_of("dimension" if dimension else "totals", dimension)), 3)


class Totals(Struct, kw_only=True, forbid_unknown_fields=True):
    """Sums over a range. Revenue is in minor units by currency."""

    pageviews: int
    visits: int
    visitors: int
    bounces: int
    bounce_rate: float | None
    views_per_visit: float | None
    visit_duration_ms: int | None
    events: int
    clicks: int
    conversions: int
    engaged_ms: int
    scroll_percent: int | None
    duplicates: int
    revenue: dict[str, int]
    previous: Totals | UnsetType = UNSET


class Point(Struct, kw_only=True, forbid_unknown_fields=True):
    """One bucket of a time series. `complete`: it includes all events that arrived before its end."""

    start: str
    start_ms: int
    pageviews: int
    visits: int
    visitors: int
    events: int
    bounces: int
    complete: bool


class BreakdownRow(Struct, kw_only=True, forbid_unknown_fields=True):
    """One value of a dimension. Measures of visits are null for dimensions of single events.

    `dropped` has only the number of events: all else is null.
    """

    value: str
    pageviews: int | None
    visits: int | None
    visitors: int | None
    bounces: int | None
    bounce_rate: float | None
    views_per_visit: float | None
    visit_duration_ms: int | None
    events: int
    clicks: int | None
    conversions: int | None
    engaged_ms: int | None
    scroll_percent: int | None
    revenue: dict[str, int] | None
    hours: list[int] | UnsetType = UNSET


class Minute(Struct, kw_only=True, forbid_unknown_fields=True):
    """One live minute."""

    start_ms: int
    pageviews: int
    visitors: int


class Present(Struct, kw_only=True, forbid_unknown_fields=True):
    """Active visitors at one value of a dimension."""

    value: str
    visitors: int


class Live(Struct, kw_only=True, forbid_unknown_fields=True):
    """Visitors who were active in the last `window_minutes` and have not left; the last 30 minutes, oldest first.

    `by` has the same visitors by value of the dimension in the request.
    """

    visitors: int
    window_minutes: int
    pageviews: int
    minutes: list[Minute]
    by: list[Present] | UnsetType = UNSET


class ConfiguredSite(Struct, kw_only=True, forbid_unknown_fields=True):
    """A configured site."""

    site: str
    time_zone: str
    default: bool


class HourCount(Struct, kw_only=True, forbid_unknown_fields=True):
    """All events of one local hour."""

    hour: str
    count: int


class PageViews(Struct, kw_only=True, forbid_unknown_fields=True):
    """Views of one page."""

    page: str
    views: int


class Health(Struct, kw_only=True, forbid_unknown_fields=True):
    """The state of the service."""

    status: str


class Period(Struct, kw_only=True, forbid_unknown_fields=True):
    """A range in the site's local time; `to` is excluded."""

    start: str = field(name="from")
    end: str = field(name="to")


class Meta(Struct, kw_only=True, forbid_unknown_fields=True):
    """Beside the data: site, freshness, cost and range."""

    site: str | None
    time_zone: str | None
    as_of: int | None
    lag_ms: int | None
    complete: bool
    items_read: int
    start: str | None = field(name="from")
    end: str | None = field(name="to")
    visitors_error: float | UnsetType = UNSET
    previous: Period | UnsetType = UNSET
    interval: str | UnsetType = UNSET
    dimension: str | UnsetType = UNSET
    sort: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    offset: int | UnsetType = UNSET
    total_values: int | UnsetType = UNSET
    more: bool | UnsetType = UNSET


class Problem(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a request is refused: a stable reason, and a message for people."""

    reason: str
    message: str


class Error(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of every error answer."""

    error: Problem


def totals_of(item: CounterItem) -> Totals:
    """The answer of a merged totals item."""
    count = item.measures.get
    visits = count("visits", 0)
    return Totals(
        pageviews=count("pageviews", 0),
        visits=visits,
        visitors=item.visitors,
        bounces=count("bounces", 0),
        bounce_rate=_ratio(count("bounces", 0), visits),
        views_per_visit=_ratio(count("pageviews", 0), visits),
        visit_duration_ms=_mean(count("duration_ms", 0), visits),
        events=count("events", 0),
        clicks=count("clicks", 0),
        conversions=count("conversions", 0),
        engaged_ms=count("engaged_ms", 0),
        scroll_percent=_mean(count("scroll_percent", 0), count("scroll_reports", 0)),
        duplicates=count("duplicates", 0),
        revenue=_revenue(item),
    )


def breakdown_row(dimension: Dimension, value: str, item: CounterItem, *, hours: bool) -> BreakdownRow:
    """The answer of a merged dimension item."""
    count = item.measures.get
    if dimension.scope is Scope.LEDGER:
        return _ledger_row(value, count("events", 0))
    of_visits = dimension.scope is Scope.VISIT
    visits = count("visits", 0)
    return BreakdownRow(
        value=value,
        pageviews=count("pageviews", 0),
        visits=visits if of_visits else None,
        visitors=visitors_of(dimension, item),
        bounces=count("bounces", 0) if of_visits else None,
        bounce_rate=_ratio(count("bounces", 0), visits) if of_visits else None,
        views_per_visit=_ratio(count("pageviews", 0), visits) if of_visits else None,
        visit_duration_ms=_mean(count("duration_ms", 0), visits) if of_visits else None,
        events=count("events", 0),
        clicks=count("clicks", 0),
        conversions=count("conversions", 0),
        engaged_ms=count("engaged_ms", 0),
        scroll_percent=_mean(count("scroll_percent", 0), count("scroll_reports", 0)),
        revenue=_revenue(item),
        hours=[item.hours.get(hour, 0) for hour in range(24)] if hours else UNSET,
    )


def _ledger_row(value: str, events: int) -> BreakdownRow:
    return BreakdownRow(
        value=value,
        pageviews=None,
        visits=None,
        visitors=None,
        bounces=None,
        bounce_rate=None,
        views_per_visit=None,
        visit_duration_ms=None,
        events=events,
        clicks=None,
        conversions=None,
        engaged_ms=None,
        scroll_percent=None,
        revenue=None,
    )


def visitors_of(dimension: Dimension, item: CounterItem) -> int:
    """Distinct visitors of a dimension's value.

    A sketch cannot remove: it still includes visitors whose visits moved to another value, as exit pages do. The
    number of visits is an upper bound.
    """
    if dimension.scope is Scope.VISIT:
        return min(item.visitors, max(0, item.measures.get("visits", 0)))
    return item.visitors


def _revenue(item: CounterItem) -> dict[str, int]:
    start = len(REVENUE_PREFIX)
    sums = ((name[start:], amount) for name, amount in item.measures.items() if name.startswith(REVENUE_PREFIX))
    return {currency: amount for currency, amount in sorted(sums) if amount}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole > 0 else None


def _mean(total: int, count: int) -> int | None:
    return round(total / count) if count > 0 else None
