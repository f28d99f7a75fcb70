"""The API as a WSGI server loads it: ``granian --interface wsgi api.wsgi:app``."""

from __future__ import annotations

import os

from api import create_app
from liveinsight.clock import system_clock
from liveinsight.logs import log_to_stderr
from liveinsight.settings import Settings
from liveinsight.wiring import open_reader

_settings = Settings.from_env(os.environ)
log_to_stderr(_settings.log_level)
app = create_app(_settings, open_reader(_settings, system_clock), system_clock)
