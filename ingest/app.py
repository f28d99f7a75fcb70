"""Ingest: takes events from browsers, decides what they mean, and answers 2xx once the stream has them.

Path of a request: `routes` (HTTP) -> `pipeline` -> `parsing` -> `enrich` -> `delivery`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flask import Flask

from ingest.delivery.direct import Retries
from ingest.delivery.group_commit import GroupCommit, Pace
from ingest.delivery.observed_stream import WatchedStream
from ingest.enrichment.datacentres import load_data_centres
from ingest.enrichment.geo import open_atlas
from ingest.enrichment.user_agents import classify
from ingest.http.body_watchdog import BodyWatch
from ingest.http.readiness import Readiness
from ingest.http.routes import Routes, build_app
from ingest.http.server_events import ServerEvents
from ingest.pipeline.cardinality import ValueGuard
from ingest.pipeline.context import Policy
from ingest.pipeline.drop_ledger import Ledger
from ingest.pipeline.identity import SALT_BYTES, DailySalts
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.rate_limits import Rates
from ingest.runtime.metrics import Metrics
from ingest.tracing.trace import TraceStore
from liveinsight.model.clock import Clock
from liveinsight.settings import Settings
from liveinsight.sites.cache import SitesNow
from liveinsight.storage.store import SaltStore
from liveinsight.storage.stream import Stream


def create_app(
    settings: Settings,
    stream: Stream,
    salts: SaltStore,
    clock: Clock,
    *,
    sites: SitesNow,
    tracker_file: Path,
    open_store: Callable[[], TraceStore],
    retries: Retries | None = None,
    ledger: Ledger | None = None,
    pace: Pace | None = None,
    metrics: Metrics | None = None,
    bodies: BodyWatch | None = None,
) -> Flask:
    """The ingest application.

    Args:
        settings: trusted proxies are used.
        stream: where records go.
        salts: gives the day's salt for visitors without an id.
        clock: the time of arrival.
        sites: gives the sites that hold now.
        tracker_file: the script that is served as ``/tracker.js``.
        open_store: gives the store that the worker writes to now, for traces.
        retries: how to insist when the stream takes only a part of the records.
        ledger: where what is not let through is counted.
        pace: how much may wait for the stream.
        metrics: where operational numbers are kept.
        bodies: what reads bodies, and what it does when too many of them do not come.
    """
    retries = retries or Retries()
    metrics = metrics or Metrics()
    watched = WatchedStream(stream, metrics, retries.elapsed)
    commit = GroupCommit(watched, retries, pace or Pace(), metrics)
    ledger = ledger or Ledger(sites, stream, clock)
    salt_of = DailySalts(salts, lambda: os.urandom(SALT_BYTES))
    policy = Policy(
        rates=Rates(),
        guard=ValueGuard(),
        atlas=open_atlas(settings.geo_db),
        data_centres=load_data_centres(settings.data_centres),
    )
    pipeline = Pipeline(
        sites,
        watched,
        salt_of,
        policy=policy,
        ledger=ledger,
        retries=retries,
        commit=commit,
    )
    # The first look at a user agent compiles thousands of patterns: better now than in a visitor's request.
    classify("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    from_servers = Pipeline(
        sites,
        watched,
        salt_of,
        policy=replace(policy, drop_bots=False),
        ledger=ledger,
    )
    # Half of the threads at most wait for bodies; the others are there for those whose bodies come.
    bodies = bodies or BodyWatch(max(1, settings.queue_requests // 2))
    server_events = ServerEvents(
        from_servers,
        read_body=bodies.body,
        stream=watched,
        retries=retries or Retries(),
        sites=sites,
        clock=clock,
        open_store=open_store,
        accepted=metrics.accepted.inc,
    )
    routes = Routes(
        pipeline,
        Readiness(watched, lambda: commit.full, sites),
        settings,
        clock,
        sites=sites,
        tracker_file=tracker_file,
        ledger=ledger,
        server_events=server_events,
        read_body=bodies.body,
        metrics=metrics,
    )
    return build_app(routes, settings.trusted_proxies)
