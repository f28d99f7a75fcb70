"""Endpoints below ``/v1``: from a checked question to the data and the meta of its envelope."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from api.http.endpoint_types import Answer, Question
from api.query import queries
from api.query.answers import ConfiguredSite, Health, Period, visitors_error
from api.query.intervals import buckets_of, choose_interval
from api.query.periods import Range, iso, previous_range, resolve_period
from liveinsight.counting.rollups import BY_NAME, Dimension, Scope
from liveinsight.counting.sessions import SESSION_GAP_MS
from liveinsight.model.buckets import MINUTE_MS, minute_of
from liveinsight.model.errors import InvalidPayload

TIME_DEFAULT = "24h"
BREAKDOWN_DEFAULT = "today"
SORTS = ("pageviews", "visits", "visitors", "events", "conversions")


def sites(question: Question) -> Answer:
    """GET /v1/sites."""
    default = next(iter(question.sites))
    rows = [
        ConfiguredSite(site=name, time_zone=zone.key, default=name == default) for name, zone in question.sites.items()
    ]
    return Answer(rows, 0)


def totals(question: Question) -> Answer:
    """GET /v1/sites/{site}/totals."""
    asked = _range(question, TIME_DEFAULT)
    read = queries.totals(question.store, question.site, asked.start_ms, asked.end_ms)
    data, items_read = read.rows[0], read.items_read
    more: dict[str, Any] = {"visitors_error": visitors_error()}
    if question.values["compare"]:
        before = previous_range(asked, question.now)
        previous = queries.totals(question.store, question.site, before.start_ms, before.end_ms)
        data = replace(data, previous=previous.rows[0])
        items_read += previous.items_read
        more["previous"] = Period(start=iso(before.start_ms, before.zone), end=iso(before.end_ms, before.zone))
    return Answer(data, items_read, asked.start_ms, asked.end_ms, more)


def timeseries(question: Question) -> Answer:
    """GET /v1/sites/{site}/timeseries."""
    asked = _range(question, TIME_DEFAULT)
    interval = choose_interval(question.values["interval"], asked.length_ms)
    buckets = buckets_of(asked.start_ms, asked.end_ms, interval, asked.zone)
    read = queries.timeseries(question.store, question.site, asked, buckets, question.freshness.as_of)
    more = {"visitors_error": visitors_error(), "interval": interval}
    return Answer(read.rows, read.items_read, asked.start_ms, asked.end_ms, more)


def breakdown(question: Question) -> Answer:
    """GET /v1/sites/{site}/breakdown."""
    values = question.values
    asked = _range(question, BREAKDOWN_DEFAULT)
    if asked.days is None:
        raise InvalidPayload(
            "whole_days_only",
            "a breakdown counts whole local days: use period=today, yesterday, 7d, 30d, 12mo, or from and to as dates",
            field="period",
        )
    dimension = BY_NAME[values["dimension"]]
    sort = values["sort"] or dimension.main
    _check_sort(dimension, sort)
    read, total_values = queries.breakdown(
        question.store,
        question.site,
        dimension,
        asked.days,
        sort=sort,
        limit=values["limit"],
        offset=values["offset"],
        hours=values["hours"],
    )
    more = {
        "visitors_error": visitors_error(dimension.name),
        "dimension": dimension.name,
        "sort": sort,
        "limit": values["limit"],
        "offset": values["offset"],
        "total_values": total_values,
    }
    return Answer(read.rows, read.items_read, asked.start_ms, asked.end_ms, more, read.partial)


def live(question: Question) -> Answer:
    """GET /v1/sites/{site}/live."""
    window = question.values["minutes"]
    read = queries.live(question.store, question.site, question.now, window, question.values["by"])
    end_minute = minute_of(question.now) + 1
    return Answer(read.rows[0], read.items_read, (end_minute - window) * MINUTE_MS, end_minute * MINUTE_MS)


def sessions(question: Question) -> Answer:
    """GET /v1/sites/{site}/sessions."""
    limit = question.values["limit"]
    read = queries.sessions(question.store, question.site, question.now, limit)
    return Answer(
        read.rows, read.items_read, question.now - SESSION_GAP_MS, question.now, {"limit": limit}, read.partial
    )


def session_events(question: Question) -> Answer:
    """GET /v1/sites/{site}/sessions/{session_id}/events."""
    limit = question.values["limit"]
    read = queries.session_events(question.store, question.site, question.session_id, limit + 1)
    if not read.rows:
        raise InvalidPayload("unknown_session", "unknown session, or no longer kept", status=404)
    more = {"limit": limit, "more": len(read.rows) > limit}
    return Answer(read.rows[:limit], read.items_read, more=more, partial=read.partial)


def healthy(_: Question) -> Answer:
    """GET /healthz: the process is alive."""
    return Answer(Health(status="ok"), 0)


def ready(question: Question) -> Answer:
    """GET /readyz: the store answers."""
    read = question.store.read_watermarks()
    return Answer(Health(status="ready"), read.items_read)


def _range(question: Question, default: str) -> Range:
    values = question.values
    return resolve_period(
        values["period"], values["from"], values["to"], default=default, zone=question.zone, now=question.now
    )


def _check_sort(dimension: Dimension, sort: str) -> None:
    if dimension.scope is Scope.LEDGER and sort != dimension.main:
        raise InvalidPayload(
            "bad_parameter",
            f"{dimension.name} knows only how many events were not counted: sort by {dimension.main}",
            field="sort",
        )
    if sort == "visits" and dimension.scope is not Scope.VISIT:
        raise InvalidPayload(
            "bad_parameter",
            f"{dimension.name} counts single events, not visits: sort by {dimension.main} instead",
            field="sort",
        )
