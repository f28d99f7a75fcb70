"""What views share, and what an endpoint is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Response

from ingest.http.readiness import Readiness
from ingest.pipeline.drop_ledger import Ledger
from ingest.pipeline.pipeline import Pipeline
from ingest.tracing.trace import TraceStore
from liveinsight.model.clock import Clock
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.runtime.openapi import Operation
from liveinsight.sites.cache import SitesNow


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """What all views share.

    Args:
        pipeline: takes the events of browsers.
        server_pipeline: takes the events of servers; it does not drop bots.
        read_body: gives the body of the request with this WSGI environment.
        readiness: says whether events can be taken now.
        clock: the time of arrival.
        sites: gives the current sites, with their API keys.
        open_store: gives the store that the worker writes to now, for traces.
        tracker_file: the script that is served as ``/tracker.js``.
        ledger: counts what is refused before its site is known.
        metrics: operational numbers.
        behind_proxy: whether a trusted proxy sets headers with the visitor's place.
    """

    pipeline: Pipeline
    server_pipeline: Pipeline
    read_body: Callable[[Mapping[str, Any]], bytes]
    readiness: Readiness
    clock: Clock
    sites: SitesNow
    open_store: Callable[[], TraceStore]
    tracker_file: Path
    ledger: Ledger
    metrics: IngestMetrics
    behind_proxy: bool


@dataclass(frozen=True)
class Endpoint:
    """One method of one path: the view, and what the OpenAPI document says about it.

    Args:
        view: takes the `Service` and the path's variable part, if it has one.
        operation: path, method, parameters and answers.
        trailing_slash: whether the path with a slash at its end is the same endpoint.
    """

    view: Callable[..., Response]
    operation: Operation
    trailing_slash: bool = False
