"""The read API and the dashboard's files.

In: HTTP requests. Out: answers made from precomputed items. Promises: reads are bounded, whatever the number of events;
every answer has its freshness and its cost; every refusal has a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from api.http.dashboard_files import serve_dashboard
from api.http.request_metrics import serve_metrics
from api.http.routes import Service, serve_endpoints, serve_errors
from liveinsight.model.clock import Clock
from liveinsight.runtime.metrics import ApiMetrics
from liveinsight.settings import Settings
from liveinsight.sites.cache import SitesNow
from liveinsight.sites.site import plain_sites
from liveinsight.storage.store import ReadStore

DASHBOARD_DIR = Path(__file__).parent.parent / "dashboard"


def create_app(
    settings: Settings,
    store: ReadStore,
    clock: Clock,
    *,
    sites: SitesNow | None = None,
    metrics: ApiMetrics | None = None,
    note_viewed: Callable[[str], None] = lambda site: None,
    dashboard_dir: Path = DASHBOARD_DIR,
) -> Flask:
    """The WSGI application.

    Args:
        settings: has the sites, for use without `sites`.
        store: answers are read from it.
        clock: gives now, epoch ms.
        sites: gives the current sites.
        metrics: counts requests and items read.
        note_viewed: told which sites are looked at.
        dashboard_dir: folder of the dashboard's files; without it the API works and the page is 404.
    """
    app = Flask(__name__, static_folder=None)
    # A session id may hold slashes, two in a row too: no redirect may change it.
    app.url_map.merge_slashes = False
    metrics = metrics or ApiMetrics()
    serve_metrics(app, metrics)
    serve_endpoints(app, Service(sites or (lambda: plain_sites(settings.sites)), store, clock, metrics, note_viewed))
    serve_dashboard(app, dashboard_dir)
    serve_errors(app)
    return app
