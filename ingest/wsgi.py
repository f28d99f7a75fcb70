"""The ingest application as a WSGI server loads it: ``granian --interface wsgi ingest.wsgi:app``."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

from ingest import create_app
from ingest.ledger import Ledger
from liveinsight.clock import system_clock
from liveinsight.logs import log_to_stderr
from liveinsight.settings import Settings
from liveinsight.wiring import open_store, open_stream

TRACKER_FILE = Path(__file__).resolve().parent.parent / "tracker" / "liveinsight.js"

_settings = Settings.from_env(os.environ)
log_to_stderr(_settings.log_level)
_stream = open_stream(_settings)
_ledger = Ledger(_settings.sites, _stream, system_clock)
# What was counted in the last moment goes out when the server ends in order.
atexit.register(_ledger.send)
app = create_app(_settings, _stream, open_store(_settings), system_clock, tracker_file=TRACKER_FILE, ledger=_ledger)
