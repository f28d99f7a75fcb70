"""The table of endpoints: routes, parameters and the OpenAPI document are made from it."""

from __future__ import annotations

from typing import Any

from api.http import legacy_endpoints, openapi, v1_endpoints
from api.http.endpoint_types import Answer, Endpoint, Shape
from api.http.parameters import one_of, whole_number
from api.query.answers import BreakdownRow, ConfiguredSite, Health, HourCount, Live, PageViews, Point, Totals
from api.query.intervals import INTERVALS
from api.query.periods import MAX_DAYS, PERIODS
from api.query.session_answers import ActiveSession, SessionEvent
from liveinsight.counting.rollups import BY_NAME, LIVE_OF_EVENT, LIVE_OF_VISIT
from liveinsight.runtime.openapi import Parameter

_SITE_PATH = Parameter("site", {"type": "string"}, "name of the site", required=True, in_path=True)
_SITE_QUERY = Parameter("site", {"type": "string"}, "name of the site; absent means the default site")
_SESSION = Parameter(
    "session_id", {"type": "string"}, "id of the session, percent-encoded", required=True, in_path=True
)
_PERIOD = one_of("period", PERIODS, "named range; see docs/api.md")
_FROM = Parameter("from", {"type": "string"}, "first local day, or start as a date-time with offset")
_TO = Parameter("to", {"type": "string"}, "last local day (included), or end as a date-time with offset (excluded)")
_RANGE = (_PERIOD, _FROM, _TO)
_SESSIONS_LIMIT = whole_number("limit", 1, 1000, 100, "sessions at most")
_COMPARE = one_of("compare", ("previous",), "adds the previous range of equal length")
_INTERVAL = one_of("interval", tuple(INTERVALS), "bucket width; by default hours up to two days, then days")
_DIMENSION = one_of(
    "dimension", tuple(BY_NAME), "dimension of the breakdown", required=True, reason="unknown_dimension"
)
_HOURS_FLAG = Parameter("hours", {"type": "boolean"}, "adds page views by local hour to each row", default=False)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "/api/sessions/active",
        Shape.PLAIN,
        legacy_endpoints.active_sessions,
        list[ActiveSession],
        "Sessions with activity in the last 30 minutes, the latest first",
        (_SITE_QUERY, _SESSIONS_LIMIT),
    ),
    Endpoint(
        "/api/sessions/{session_id}/events",
        Shape.PLAIN,
        legacy_endpoints.session_events,
        list[SessionEvent],
        "The events of a session, in order",
        (_SESSION, _SITE_QUERY),
    ),
    Endpoint(
        "/api/statistics/hourly",
        Shape.PLAIN,
        legacy_endpoints.hourly,
        list[HourCount],
        "All events by hour of the site's clock, the oldest hour first",
        (_SITE_QUERY, whole_number("hours", 1, 168, 24, "hours, the current one included")),
        fresh=True,
    ),
    Endpoint(
        "/api/statistics/pages",
        Shape.PLAIN,
        legacy_endpoints.pages,
        list[PageViews],
        "Page views by page, the most viewed first",
        (
            _SITE_QUERY,
            whole_number("days", 1, MAX_DAYS, 30, "local days, today included"),
            whole_number("limit", 1, 1000, 100, "pages at most"),
        ),
    ),
    Endpoint(
        "/v1/sites",
        Shape.ENVELOPE,
        v1_endpoints.sites,
        list[ConfiguredSite],
        "The configured sites, the default one first",
    ),
    Endpoint(
        "/v1/sites/{site}/totals",
        Shape.ENVELOPE,
        v1_endpoints.totals,
        Totals,
        "Sums over a range",
        (_SITE_PATH, *_RANGE, _COMPARE),
        fresh=True,
    ),
    Endpoint(
        "/v1/sites/{site}/timeseries",
        Shape.ENVELOPE,
        v1_endpoints.timeseries,
        list[Point],
        "A range bucket by bucket",
        (_SITE_PATH, *_RANGE, _INTERVAL),
        fresh=True,
    ),
    Endpoint(
        "/v1/sites/{site}/breakdown",
        Shape.ENVELOPE,
        v1_endpoints.breakdown,
        list[BreakdownRow],
        "Whole local days by value of a dimension",
        (
            _SITE_PATH,
            *_RANGE,
            _DIMENSION,
            one_of("sort", v1_endpoints.SORTS, "measure to sort by; by default the dimension's main one"),
            whole_number("limit", 1, 1000, 10, "values at most"),
            whole_number("offset", 0, 1_000_000, 0, "values to skip"),
            _HOURS_FLAG,
        ),
    ),
    Endpoint(
        "/v1/sites/{site}/live",
        Shape.ENVELOPE,
        v1_endpoints.live,
        Live,
        "Active visitors, and the last 30 minutes",
        (
            _SITE_PATH,
            whole_number("minutes", 1, 60, 5, "width of the active window in minutes"),
            one_of("by", (*dict(LIVE_OF_EVENT), *LIVE_OF_VISIT), "adds the active visitors by value of this dimension"),
        ),
        fresh=True,
    ),
    Endpoint(
        "/v1/sites/{site}/sessions",
        Shape.ENVELOPE,
        v1_endpoints.sessions,
        list[ActiveSession],
        "Sessions with activity in the last 30 minutes, the latest first",
        (_SITE_PATH, _SESSIONS_LIMIT),
    ),
    Endpoint(
        "/v1/sites/{site}/sessions/{session_id}/events",
        Shape.ENVELOPE,
        v1_endpoints.session_events,
        list[SessionEvent],
        "The events of a session, in order",
        (_SITE_PATH, _SESSION, whole_number("limit", 1, 1000, 1000, "events at most, the first ones")),
    ),
    Endpoint(
        "/v1/openapi.json",
        Shape.BARE,
        lambda _: Answer(openapi.document(ENDPOINTS), 0),
        dict[str, Any],
        "This document",
        reads=False,
    ),
    Endpoint("/healthz", Shape.BARE, v1_endpoints.healthy, Health, "The process is alive", reads=False),
    Endpoint("/readyz", Shape.BARE, v1_endpoints.ready, Health, "The store answers"),
)
