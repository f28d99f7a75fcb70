"""The whole pipeline in one process: ingest, a shard's processor and the API on an in-memory stream and store.

Tests of the documents load this file by its path, in their own process or in that of a changed copy of the packages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import api.app
import ingest.app
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory
from liveinsight.sites.repository import create_missing, load_sites
from liveinsight.storage.stream import StartAt
from liveinsight.testing.builders import FakeClock, MemoryStore, MemoryStream
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


class Checkpoints:
    """Takes checkpoints and forgets them."""

    def checkpoint(self, sequence_number: str) -> None:
        pass


class Pipeline:
    """Events in, answers out."""

    def __init__(self, root: Path) -> None:
        self.clock, self.settings = FakeClock(), Settings.from_env({})
        self.store, self.stream = MemoryStore(), MemoryStream(self.clock, shards=1)
        create_missing(self.store, self.settings.sites)
        sites = SiteDirectory(lambda: load_sites(self.store), self.clock)
        self.ingest = ingest.app.create_app(
            self.settings,
            ingest.app.Backend(self.stream, self.store, sites, lambda: self.store, self.clock),
            tracker_file=root / "tracker" / "liveinsight.js",
        )
        self.api = api.app.create_app(
            self.settings, self.store, self.clock, sites=sites, dashboard_dir=root / "dashboard"
        )
        self._processor = RecordProcessor(self.store, 1, ProcessorOptions(), self.clock)
        (self._shard,) = self.stream.shards()
        self._processor.initialize(self._shard.shard_id, "")

    def collect(self, **payload: Any) -> None:
        """Send one event that must be accepted, a second after the last."""
        self.clock.advance(seconds=1)
        event = {"event_type": "page_view", "page_url": "https://example.com/", "user_id": "u", **payload}
        answer = self.ingest.test_client().post(
            "/collect", data=json.dumps(event), headers={"Content-Type": "text/plain", "User-Agent": FIREFOX}
        )
        assert answer.status_code == 202, answer.text

    def count(self) -> None:
        """Process all records, and flush."""
        start = self.stream.iterator(self._shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
        self._processor.process_records(self.stream.read(start, 1000).records, Checkpoints(), 0)
        self._processor.shutdown_requested(Checkpoints())

    def ask(self, path: str) -> Any:
        """The answer of the API to `path`, decoded."""
        answer = self.api.test_client().get(path)
        assert answer.status_code == 200, answer.text
        return answer.get_json()
