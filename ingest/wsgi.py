"""The ingest application as a WSGI server loads it: ``granian --interface wsgi ingest.wsgi:app``."""

from __future__ import annotations

import os
from pathlib import Path

from ingest import create_app
from liveinsight.clock import system_clock
from liveinsight.logs import log_to_stderr
from liveinsight.settings import Settings
from liveinsight.wiring import open_store, open_stream

TRACKER_FILE = Path(__file__).resolve().parent.parent / "tracker" / "liveinsight.js"

_settings = Settings.from_env(os.environ)
log_to_stderr(_settings.log_level)
app = create_app(_settings, open_stream(_settings), open_store(_settings), system_clock, tracker_file=TRACKER_FILE)
