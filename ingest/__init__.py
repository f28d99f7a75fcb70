"""Ingest: takes events from browsers, decides what they mean, and answers 2xx once the stream has them.

Path of a request: `routes` (HTTP) -> `pipeline` -> `parsing` -> `enrich` -> `delivery`.
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask

from ingest.cardinality import ValueGuard
from ingest.context import Policy
from ingest.delivery import Retries
from ingest.health import Readiness
from ingest.identity import SALT_BYTES, DailySalts
from ingest.ledger import Ledger
from ingest.pipeline import Pipeline
from ingest.routes import Routes, build_app
from ingest.user_agents import classify
from liveinsight.clock import Clock
from liveinsight.settings import Settings
from liveinsight.store import SaltStore
from liveinsight.stream import Stream


def create_app(
    settings: Settings,
    stream: Stream,
    salts: SaltStore,
    clock: Clock,
    *,
    tracker_file: Path,
    drop_bots: bool = True,
    retries: Retries | None = None,
    ledger: Ledger | None = None,
) -> Flask:
    """The ingest application.

    Args:
        settings: sites, allowed origins and trusted proxies are used.
        stream: where records go.
        salts: gives the day's salt for visitors without an id.
        clock: the time of arrival.
        tracker_file: the script that is served as ``/tracker.js``.
        drop_bots: whether events of bots and headless browsers are left out.
        retries: how to insist when the stream takes only a part of the records.
        ledger: where what is not let through is counted.
    """
    ledger = ledger or Ledger(settings.sites, stream, clock)
    pipeline = Pipeline(
        settings.sites,
        settings.default_site,
        stream,
        DailySalts(salts, lambda: os.urandom(SALT_BYTES)),
        policy=Policy(drop_bots=drop_bots, session_gaps=settings.session_gaps, guard=ValueGuard(settings.max_values)),
        ledger=ledger,
        retries=retries,
    )
    # The first look at a user agent compiles thousands of patterns: better now than in a visitor's request.
    classify("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    routes = Routes(pipeline, Readiness(stream, clock), settings, clock, tracker_file=tracker_file, ledger=ledger)
    return build_app(routes, settings.trusted_proxies)
