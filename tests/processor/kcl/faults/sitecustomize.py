"""Put on PYTHONPATH by the tests: makes the daemon's child processes misbehave. `TEST_FAULT` says how.

Python imports it before anything else, and the launcher and the daemon know nothing of it.
"""

# ruff: noqa: PLC0415 - nothing of ours may be imported before the fault that is asked for
from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def chatty() -> None:
    """Writes wherever it can, between calls and in the middle of them."""
    import logging

    from processor.shard.record_processor import RecordProcessor

    real = RecordProcessor.process_records

    def process_records(self: RecordProcessor, *arguments: object) -> None:
        print("half a line", end="")
        print(" and its rest")
        print('{"action": "status", "responseFor": "processRecords"}')
        os.write(1, b'{"action": "checkpoint", "sequenceNumber": null, "subSequenceNumber": null}\n')
        sys.stdout.write("x" * 100_000 + "\n")
        logging.getLogger("a.dependency").error("noise")
        logging.getLogger().setLevel(logging.DEBUG)
        real(self, *arguments)  # type: ignore[arg-type]

    RecordProcessor.process_records = process_records  # type: ignore[method-assign,assignment]


def raise_once() -> None:
    """Fails in the middle of a batch, the first time that any shard has counted fifty events."""
    import processor.shard.record_processor as module
    from liveinsight.counting.fold import fold as real

    marker = Path(os.environ["TEST_FAULT_MARKER"])
    folded = 0

    def fold(state: object, event: object, mark: str) -> object:
        nonlocal folded
        folded += 1
        if folded == 50 and not marker.exists():
            marker.write_text(mark)
            raise KeyError("a mistake of ours")
        return real(state, event, mark)  # type: ignore[arg-type]

    vars(module)["fold"] = fold


def slow_flush() -> None:
    """Says when a flush has written its counters but nothing else, and waits there."""
    from processor.shard.visitor_writer import VisitorWriter

    real, marker = VisitorWriter.flush, Path(os.environ["TEST_FAULT_MARKER"])

    def flush(self: VisitorWriter) -> object:
        marker.write_text(str(os.getpid()))
        time.sleep(1.0)
        marker.unlink(missing_ok=True)
        return real(self)

    VisitorWriter.flush = flush  # type: ignore[method-assign,assignment]


def hang_once() -> None:
    """Never comes back from the first batch that any shard is given."""
    from processor.shard.record_processor import RecordProcessor

    real, marker = RecordProcessor.process_records, Path(os.environ["TEST_FAULT_MARKER"])

    def process_records(self: RecordProcessor, records: list[object], *arguments: object) -> None:
        if records and not marker.exists():
            marker.write_text(str(os.getpid()))
            time.sleep(600)
        real(self, records, *arguments)  # type: ignore[arg-type]

    RecordProcessor.process_records = process_records  # type: ignore[method-assign,assignment]


def fail_at_end() -> None:
    """Fails when a shard has ended."""
    from processor.shard.record_processor import RecordProcessor

    def shard_ended(*_: object) -> None:
        raise KeyError("a mistake at the end")

    RecordProcessor.shard_ended = shard_ended  # type: ignore[method-assign,assignment]


FAULTS = {
    "chatty": chatty,
    "fail_at_end": fail_at_end,
    "hang_once": hang_once,
    "raise_once": raise_once,
    "slow_flush": slow_flush,
}
if "processor.kcl.child" in sys.orig_argv and "TEST_FAULT" in os.environ:
    FAULTS[os.environ["TEST_FAULT"]]()
