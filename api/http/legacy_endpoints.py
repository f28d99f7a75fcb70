"""Legacy endpoints below ``/api``: plain arrays, in the shapes that existing pages and scripts read."""

from __future__ import annotations

from datetime import datetime

from api.http.endpoint_types import Answer, Question
from api.query import queries
from api.query.answers import HourCount, PageViews
from api.query.intervals import last_hours
from api.query.periods import days_up_to_today
from liveinsight.counting.rollups import BY_NAME
from liveinsight.counting.sessions import SESSION_GAP_MS

EVENTS_LIMIT = 1000
"""Events of one session in an answer."""


def active_sessions(question: Question) -> Answer:
    """GET /api/sessions/active."""
    read = queries.sessions(question.store, question.site, question.now, question.values["limit"])
    return Answer(read.rows, read.items_read, question.now - SESSION_GAP_MS, question.now, partial=read.partial)


def session_events(question: Question) -> Answer:
    """GET /api/sessions/{session_id}/events. An unknown session gives an empty array."""
    read = queries.session_events(question.store, question.site, question.session_id, EVENTS_LIMIT)
    return Answer(read.rows, read.items_read, partial=read.partial)


def hourly(question: Question) -> Answer:
    """GET /api/statistics/hourly."""
    hours = last_hours(question.now, question.values["hours"], question.zone)
    read = queries.events_by_bucket(question.store, question.site, hours)
    rows = []
    for hour, count in zip(hours, read.rows, strict=True):
        local = datetime.fromtimestamp(hour.start_ms // 1000, question.zone)
        rows.append(HourCount(hour=f"{local:%Y-%m-%d %H}:00", count=count))
    return Answer(rows, read.items_read, hours[0].start_ms, hours[-1].end_ms)


def pages(question: Question) -> Answer:
    """GET /api/statistics/pages."""
    asked = days_up_to_today(question.values["days"], question.zone, question.now)
    assert asked.days is not None
    read, _ = queries.breakdown(
        question.store, question.site, BY_NAME["page"], asked.days, sort="pageviews", limit=question.values["limit"]
    )
    rows = [PageViews(page=row.value, views=row.pageviews or 0) for row in read.rows]
    return Answer(rows, read.items_read, asked.start_ms, asked.end_ms, partial=read.partial)
