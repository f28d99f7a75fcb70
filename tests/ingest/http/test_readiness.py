"""Readiness: the stream takes records, and the queue has room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from ingest.contract.reasons import Reason
from ingest.delivery.observed_stream import ObservedStream
from ingest.http.readiness import Readiness
from liveinsight.model.errors import LiveInsightError, StoreUnavailable, StreamRefused, StreamUnavailable
from liveinsight.model.events import decode_record
from liveinsight.runtime.metrics import IngestMetrics
from liveinsight.storage.stream import OutRecord, PutOutcome
from liveinsight.testing.builders import FakeClock
from liveinsight.testing.memory_stream import MemoryStream
from tests.ingest.conftest import Payload, Service


class MoodyStream(MemoryStream):
    """Takes records, raises `error`, or takes none of them."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.error: LiveInsightError | None = None
        self.throttles = False
        self.calls: list[list[OutRecord]] = []

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        self.calls.append(list(records))
        if self.error:
            raise self.error
        if self.throttles:
            return [PutOutcome("", "", "Throttled") for _ in records]
        return super().put(records)

    def incarnation(self) -> int:
        raise AssertionError("that the stream can be described says nothing about writing to it")


def test_it_is_ready_when_the_stream_takes_records(make_service: Callable[..., Service]) -> None:
    """Asked by a record without events, every five seconds while it is well, and every second while it is not."""
    stream = MoodyStream()
    service = make_service(stream=stream)
    ready = service.client
    assert (ready.get("/readyz").status_code, len(stream.calls)) == (200, 1)
    [[probe]] = stream.calls
    assert decode_record(probe.data) == []
    service.time.now += 4.9
    assert (ready.get("/readyz").status_code, len(stream.calls)) == (200, 1)
    service.time.now += 0.2
    stream.error = StreamUnavailable("down")
    answer = ready.get("/readyz")
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "stream_unavailable")
    assert ready.get("/healthz").status_code == 200
    assert ready.get("/readyz").status_code == 503
    assert len(stream.calls) == 2
    stream.error = None
    service.time.now += 1
    assert ready.get("/readyz").status_code == 200
    service.time.now += 10
    stream.throttles = True
    assert ready.get("/readyz").status_code == 503


def test_writes_of_events_decide_readiness(make_service: Callable[..., Service], view: Callable[..., Payload]) -> None:
    """While events go through nothing is tried; one that fails is noticed at the next question."""
    stream = MoodyStream()
    service = make_service(stream=stream)
    assert service.post(view()).status_code == 202
    assert service.client.get("/readyz").status_code == 200
    assert len(stream.calls) == 1
    stream.error = StreamUnavailable("down")
    service.time.now += 0.1
    assert service.post(view()).status_code == 503
    assert service.client.get("/readyz").status_code == 503
    stream.error = None
    service.time.now += 0.1
    assert service.post(view()).status_code == 202
    assert service.client.get("/readyz").status_code == 200


def test_no_access_is_503_for_browsers_and_named_to_operators(
    make_service: Callable[..., Service], view: Callable[..., Payload], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sends is to come again; whoever operates is told that waiting will not help."""
    stream = MoodyStream()
    service = make_service(stream=stream)
    stream.error = StreamRefused("Kinesis refused: AccessDeniedException")
    answer = service.post(view())
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "stream_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    ready = service.client.get("/readyz")
    assert (ready.status_code, ready.json["error"]["reason"]) == (503, "stream_refused")
    assert service.client.get("/healthz").status_code == 200
    assert "AccessDeniedException" in caplog.text


def test_a_stream_that_is_down_is_one_line_of_log_a_second(
    make_service: Callable[..., Service], view: Callable[..., Payload], caplog: pytest.LogCaptureFixture
) -> None:
    """Not one for each request."""
    stream = MoodyStream()
    service = make_service(stream=stream)
    stream.error = StreamUnavailable("down")
    for _ in range(20):
        assert service.post(view()).status_code == 503
    assert [vars(record)["action"] for record in caplog.records] == ["put_records"]
    service.time.now += 1
    service.post(view())
    assert [vars(record)["action"] for record in caplog.records] == ["put_records"] * 2


@pytest.mark.parametrize("full", [True, False])
def test_a_full_queue_is_not_ready(full: bool) -> None:
    """Another process may have room."""
    stream = ObservedStream(MoodyStream(), IngestMetrics(), lambda: 0.0)
    assert Readiness(stream, lambda: full, dict).trouble() == (Reason.QUEUE_FULL if full else None)


def test_without_the_sites_nothing_can_be_taken() -> None:
    """A process whose store has never answered knows no site."""

    def sites() -> object:
        raise StoreUnavailable("down")

    stream = ObservedStream(MoodyStream(), IngestMetrics(), lambda: 0.0)
    assert Readiness(stream, lambda: False, sites).trouble() == Reason.STORE_UNAVAILABLE


def test_a_hanging_stream_blocks_one_health_check_only() -> None:
    """The others are told what is known."""
    asked, answered = threading.Event(), threading.Event()

    class Hanging(MoodyStream):
        def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
            asked.set()
            assert answered.wait(10)
            raise StreamUnavailable("timed out")

    readiness = Readiness(ObservedStream(Hanging(), IngestMetrics(), lambda: 0.0), lambda: False, dict)
    first = threading.Thread(target=readiness.trouble)
    first.start()
    assert asked.wait(10)
    assert readiness.trouble() == Reason.STREAM_UNAVAILABLE
    answered.set()
    first.join(10)
