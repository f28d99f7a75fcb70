"""What /metrics says of one process, of several, and of those that have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from liveinsight.model.errors import StreamUnavailable
from liveinsight.testing.memory_stream import MemoryStream
from tests.ingest.conftest import Payload, Service

PROCESS = """
import sys, os
from pathlib import Path
from liveinsight.runtime.metrics import IngestMetrics
metrics = IngestMetrics(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
metrics.accepted.inc(3)
metrics.refused.labels("bot").inc()
metrics.waiting_requests.set(2)
metrics.call_seconds.observe(0.02)
sys.stdout.write("up\\n")
sys.stdout.flush()
if sys.stdin.readline() == "render\\n":
    sys.stdout.write(metrics.render().decode())
"""


def values(text: str) -> dict[str, float]:
    """Samples by name and labels."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("liveinsight_ingest_"): float(number) for name, _, number in lines}


def test_metrics_say_what_became_of_events_and_requests(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """Accepted, refused by reason, 503 by reason, calls and what was in them; no site, address or page."""
    service = make_service()
    assert service.post([view(), view(id="2"), view(event_type=None)]).status_code == 207
    assert service.post(b"{").status_code == 400
    assert service.post(view(), headers={"User-Agent": "Googlebot/2.1"}).status_code == 202
    service.stream.down = True
    assert service.post(view()).status_code == 503
    answer = service.client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    found = values(answer.text)
    assert found["accepted_events_total"] == 2
    assert found['refused_events_total{reason="missing_field"}'] == 1
    assert found['refused_events_total{reason="malformed_json"}'] == 1
    assert found['refused_events_total{reason="bot"}'] == 1
    assert found['unavailable_requests_total{reason="stream_unavailable"}'] == 1
    assert found["waiting_requests"] == found["waiting_bytes"] == 0
    assert found["put_records_seconds_count"] == 2
    assert found["put_records_failed_calls_total"] == 1
    assert found["put_records_batch_records_sum"] == 1
    assert found["put_records_batch_events_sum"] == 3
    assert "198.51.100" not in answer.text
    assert "shop.example" not in answer.text


def test_refusals_that_the_ledger_puts_again_are_counted_once(
    make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written to the stream is kept for later, which is no new refusal."""
    service = make_service()
    service.post(b"{")
    monkeypatch.setattr(MemoryStream, "down", True, raising=False)
    service.stream.down = True
    for _ in range(3):
        try:
            service.ledger.send()
        except StreamUnavailable:
            continue
    found = values(service.client.get("/metrics").text)
    assert found['refused_events_total{reason="malformed_json"}'] == 1


def test_processes_answer_for_each_other_and_for_the_dead(tmp_path: Path) -> None:
    """Counters are sums over all that ever ran; what waits is summed over those that run."""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[3],
        )
        for _ in range(3)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout.readline() == "up\n"
        processes[0].kill()
        processes[0].wait(10)
        text, _ = processes[1].communicate("render\n", timeout=20)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    found = values(text)
    assert found["accepted_events_total"] == 9
    assert found['refused_events_total{reason="bot"}'] == 3
    assert found["put_records_seconds_count"] == 3
    assert found["waiting_requests"] == 4
