"""What a record processor reports to the metrics of the worker."""

from __future__ import annotations

from liveinsight.model.errors import StoreUnavailable
from liveinsight.model.events import encode_record
from liveinsight.runtime.metrics import WorkerMetrics
from liveinsight.storage.store import Watermark
from liveinsight.storage.stream import Record
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.memory_store import MemoryStore
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor

SHARD = "shardId-000000000000"


class NoCheckpoints:
    def checkpoint(self, sequence_number: str) -> None:
        pass


class Unavailable(MemoryStore):
    """Refuses the first two watermarks."""

    refusals = 2

    def write_watermark(self, watermark: Watermark) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("throttled")
        super().write_watermark(watermark)


def samples(metrics: WorkerMetrics) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in metrics.render().decode().splitlines() if not line.startswith("#"))
    return {name.removeprefix("liveinsight_worker_"): float(number) for name, _, number in lines}


def test_work_of_a_shard_is_reported() -> None:
    """Records, events, replays, dead letters, retries, flushes and the lag; two processors add up."""
    metrics, clock, store = WorkerMetrics(), FakeClock(NOON), Unavailable()
    good = encode_record([an_event(event_id=1), an_event(event_id=2)])
    records = [Record("1", "b001", good, NOON), Record("2", "b001", b"not ours", NOON), Record("3", "b001", good, NOON)]
    for _ in range(2):
        processor = RecordProcessor(store, 1, ProcessorOptions(), clock, lambda _: None, metrics=metrics)
        processor.initialize(SHARD, "")
        processor.process_records(records, NoCheckpoints(), 1500)
        lag = samples(metrics)[f'lag_milliseconds{{shard="{SHARD}"}}']
        processor.shard_ended(NoCheckpoints())
    found = samples(metrics)
    assert lag == 1500
    assert found[f'lag_milliseconds{{shard="{SHARD}"}}'] == 0
    assert found["records_total"] == 6
    assert found["folded_events_total"] == 8
    assert found["skipped_events_total"] == 4
    assert found["dead_letter_records_total"] == 2
    assert found["retries_total"] == 2
    assert found['flush_seconds_count{flush="all"}'] >= 2
