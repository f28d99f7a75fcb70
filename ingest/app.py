"""The ingest application, put together. The path of an event is in `ingest.pipeline.pipeline`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flask import Flask

from ingest.delivery.group_commit import GroupCommit, Pace, Retries
from ingest.delivery.observed_stream import ObservedStream
from ingest.enrichment.datacentres import load_data_centres
from ingest.enrichment.geo import open_geo_database
from ingest.enrichment.user_agents import classify
from ingest.http.body_watchdog import BodyWatchdog
from ingest.http.readiness import Readiness
from ingest.http.routes import build_app
from ingest.http.service import Service
from ingest.pipeline.cardinality import ValueGuard
from ingest.pipeline.context import Policy
from ingest.pipeline.drop_ledger import Ledger
from ingest.pipeline.identity import SALT_BYTES, DailySalts
from ingest.pipeline.pipeline import Pipeline
from ingest.pipeline.rate_limits import Rates
from ingest.tracing.trace import TraceStore
from liveinsight.model.clock import Clock
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SitesNow
from liveinsight.storage.store import SaltStore
from liveinsight.storage.stream import Sink


@dataclass(frozen=True)
class Backend:
    """What ingest needs from outside.

    Args:
        stream: where records go.
        salts: gives the day's salt for visitors without an id.
        sites: gives the current sites.
        open_store: gives the store that the worker writes to now, for traces.
        clock: the time of arrival.
    """

    stream: Sink
    salts: SaltStore
    sites: SitesNow
    open_store: Callable[[], TraceStore]
    clock: Clock


def create_app(
    settings: Settings,
    backend: Backend,
    *,
    tracker_file: Path,
    ledger: Ledger | None = None,
    retries: Retries | None = None,
    pace: Pace | None = None,
    metrics: IngestMetrics | None = None,
    bodies: BodyWatchdog | None = None,
) -> Flask:
    """The ingest application.

    Args:
        settings: limits, trusted proxies and look-up tables.
        backend: stream, store and sites.
        tracker_file: the script that is served as ``/tracker.js``.
        ledger: where refused and dropped events are counted.
        retries: when refused records are put again.
        pace: how much may wait for the stream.
        metrics: where operational numbers are kept.
        bodies: reads request bodies, and acts when too many are overdue.
    """
    retries = retries or Retries()
    metrics = metrics or IngestMetrics()
    stream = ObservedStream(backend.stream, metrics, retries.elapsed)
    commit = GroupCommit(stream, retries, pace, metrics)
    ledger = ledger or Ledger(backend.sites, GroupCommit(backend.stream), backend.clock)
    salt_of = DailySalts(backend.salts, lambda: os.urandom(SALT_BYTES))
    policy = _policy(settings)
    # Half of the threads at most wait for request bodies.
    bodies = bodies or BodyWatchdog(max(1, settings.queue_requests // 2))
    service = Service(
        pipeline=Pipeline(backend.sites, commit, salt_of, policy=policy, ledger=ledger),
        server_pipeline=Pipeline(
            backend.sites, commit, salt_of, policy=replace(policy, drop_bots=False), ledger=ledger
        ),
        read_body=bodies.read,
        readiness=Readiness(stream, lambda: commit.full, backend.sites),
        clock=backend.clock,
        sites=backend.sites,
        open_store=backend.open_store,
        tracker_file=tracker_file,
        ledger=ledger,
        metrics=metrics,
        behind_proxy=settings.trusted_proxies > 0,
    )
    # The first classification compiles thousands of patterns: do that before the first request.
    classify("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    return build_app(service, settings.trusted_proxies)


def pace_of(settings: Settings) -> Pace:
    """How requests are gathered for the stream of the settings."""
    if settings.on_aws:
        return Pace(settings.queue_requests, settings.queue_bytes)
    # One call at a time can write, and one that ends takes all that came meanwhile.
    return Pace(settings.queue_requests, settings.queue_bytes, calls=1)


def _policy(settings: Settings) -> Policy:
    return Policy(
        rates=Rates(),
        guard=ValueGuard(),
        geo=open_geo_database(settings.geo_db),
        data_centres=load_data_centres(settings.data_centres),
    )
