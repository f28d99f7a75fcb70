"""The ingest application as a WSGI server loads it: ``gunicorn --threads 256 ingest.wsgi:app``.

A thread waits for each request that waits for the stream: give each process more threads than
`LIVEINSIGHT_QUEUE_REQUESTS`. Nothing here starts a thread or talks to AWS, so it may be loaded before a fork.
"""

from __future__ import annotations

import os
from pathlib import Path

from ingest.app import Backend, create_app, pace_of
from ingest.delivery.group_commit import GroupCommit
from ingest.pipeline.drop_ledger import Ledger
from liveinsight.model.clock import system_clock
from liveinsight.runtime.gc_tuning import tune_for_requests
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.runtime.wsgi_server import at_exit
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.wiring import open_generations, open_sites, open_stream_for_requests

TRACKER_FILE = Path(__file__).resolve().parent.parent / "tracker" / "liveinsight.js"

_settings = Settings.from_env(os.environ)
log_to_stderr(_settings.log_level)
_stream = open_stream_for_requests(_settings)
_stores = open_generations(_settings)
_store = _stores(FIRST)
_sites = open_sites(_settings, system_clock)
_metrics = IngestMetrics.from_environment()
_ledger = Ledger(_sites, GroupCommit(_stream), system_clock, metrics=_metrics)
# The counts of the last second are sent when the server ends.
at_exit(_ledger.send)
_backend = Backend(
    stream=_stream,
    salts=_store,
    sites=_sites,
    open_store=lambda: _stores(load_pointer(_store).newest),
    clock=system_clock,
)
app = create_app(
    _settings,
    _backend,
    tracker_file=TRACKER_FILE,
    ledger=_ledger,
    pace=pace_of(_settings),
    metrics=_metrics,
)
tune_for_requests()
