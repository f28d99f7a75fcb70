"""The API as a WSGI server loads it: ``granian --interface wsgi api.wsgi:app``."""

from __future__ import annotations

import os

from api.app import create_app
from liveinsight.model.clock import system_clock
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.runtime.metrics import ApiMetrics
from liveinsight.settings import Settings
from liveinsight.sites.viewing import Viewing
from liveinsight.wiring import open_reader, open_sites, open_store

_settings = Settings.from_env(os.environ)
log_to_stderr(_settings.log_level)
_sites = open_sites(_settings, system_clock)
_store = open_reader(_settings, _sites, system_clock)
app = create_app(
    _settings,
    _store,
    system_clock,
    sites=_sites,
    metrics=ApiMetrics.from_environment(),
    note_viewed=Viewing(open_store(_settings), system_clock).note,
)
