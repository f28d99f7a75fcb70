"""What became of an event: the worker's real code counts, and the trace says how far it has come."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from ingest.tracing.receipts import Receipt, read_receipt, write_receipt
from liveinsight.counting.sessions import decode_visitor, encode_visitor
from liveinsight.storage.stream import OutRecord, StartAt
from liveinsight.testing.memory_store import MemoryStore
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.ingest.conftest import Payload, Service


class Checkpoints:
    def checkpoint(self, sequence_number: str) -> None:
        self.at = sequence_number


class Worker:
    """Counts the service's only shard, when told to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._shard = service.stream.shards()[0].shard_id
        incarnation = service.stream.incarnation()
        self._processor = RecordProcessor(
            service.store, incarnation, ProcessorOptions(dead_letter_limit=1), service.clock, lambda _: None
        )
        self._processor.initialize(self._shard, "")
        self._iterator: str | None = service.stream.iterator(self._shard, after=None, start=StartAt.TRIM_HORIZON)

    def count(self, *, flush: bool = True) -> None:
        assert self._iterator
        batch = self._service.stream.read(self._iterator, 10_000)
        self._iterator = batch.next_iterator
        self._processor.process_records(batch.records, Checkpoints(), 0)
        if flush:
            self._processor.shutdown_requested(Checkpoints())


def forget_timelines(store: MemoryStore) -> None:
    """As if they had expired: the chunks, and what visitors' states still hold of them."""
    store.timeline.clear()
    for key, (mark, data) in store.visitors.items():
        state = decode_visitor(data)
        state.tail = []
        store.visitors[key] = (mark, encode_visitor(state))


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    made = make_service(sites="default=UTC shop=UTC")
    made.give_keys(default="default-key", shop="shop-key")
    return made


@pytest.fixture
def send(service: Service) -> Callable[..., list[str]]:
    def post(*payloads: Payload, key: str = "default-key") -> list[str]:
        answer = service.client.post(
            "/v1/events", data=json.dumps(payloads), headers={"Content-Type": "text/plain",
                                                              "Authorization": f"Bearer {key}"})  # fmt: skip
        assert answer.status_code == 202, answer.text
        return [one["receipt"] for one in answer.json["events"]]

    return post


@pytest.fixture
def trace(service: Service) -> Callable[..., TestResponse]:
    def get(event_id: str, key: str = "default-key", **query: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return service.client.get(f"/v1/events/{event_id}/trace", query_string=query, headers=headers)

    return get


def test_from_the_stream_to_the_counters(
    service: Service, send: Callable[..., list[str]], trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Streamed, with shard, sequence number and index, until the worker has written it; then applied."""
    _, receipt = send(view(id="1"), view(id="2"))
    told = trace(receipt).json
    assert (told["state"], told["shard"], told["sequence_number"], told["index"]) == (
        "streamed", "shardId-000000000000", "1", 1,
    )  # fmt: skip
    assert (told["site"], told["received_at"], told["session_id"]) == ("default", service.clock(), "s_abc")
    Worker(service).count()
    told = trace(receipt).json
    assert told["state"] == "applied"
    assert "timeline" in told["message"]
    assert told["items_read"] <= 4, "the visitor, its shard's watermark, the timeline and its visitor"


@pytest.mark.parametrize("session", ["s_abc", None])
def test_a_repeat_is_a_duplicate(
    service: Service,
    send: Callable[..., list[str]],
    trace: Callable[..., TestResponse],
    view: Callable[..., Payload],
    session: str | None,
) -> None:
    """The same id sent again is streamed again, and counted once; with an id for the session or without."""
    (first,) = send(view(id="1", session_id=session))
    service.clock.advance(seconds=2)
    (second,) = send(view(id="1", session_id=session))
    Worker(service).count()
    assert (trace(first).json["state"], trace(second).json["state"]) == ("applied", "duplicate")


def test_a_record_that_could_not_be_decoded_is_a_dead_letter(
    service: Service, send: Callable[..., list[str]], trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """The trace says so, with the worker's reason."""
    service.stream.put([OutRecord("b000", b"garbage")])
    (receipt,) = send(view())
    first, second = service.stream.records()
    service.stream.keep("shardId-000000000000", [first, second._replace(data=b"LI\xff broken")])
    Worker(service).count()
    told = trace(receipt).json
    assert (told["state"], told["dead_letter_reason"]) == ("dead_letter", "unknown_version")


def test_a_visitor_counted_beyond_an_event_has_it_counted(
    service: Service, send: Callable[..., list[str]], trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """When the timeline has expired, the marks still say it."""
    (receipt,) = send(view(id="1"))
    send(view(id="2"))
    Worker(service).count()
    forget_timelines(service.store)
    told = trace(receipt).json
    assert (told["state"], told["message"]) == ("applied", "the visitor is counted beyond it")
    service.store.visitors.clear()
    service.clock.advance(minutes=1)
    assert trace(receipt).json["state"] == "streamed", "a watermark of before proves nothing"
    Worker(service).count()
    forget_timelines(service.store)
    service.store.visitors.clear()
    told = trace(receipt).json
    assert (told["state"], told["message"]) == ("applied", "its shard is counted beyond it")


def test_a_stream_that_was_created_anew_says_nothing_about_old_events(
    service: Service, send: Callable[..., list[str]], trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Marks and watermarks of another incarnation are no proof."""
    (receipt,) = send(view())
    service.clock.advance(hours=1)
    service.stream.created_at = service.clock()
    service.stream.keep("shardId-000000000000", [])
    send(view(id="2"))
    Worker(service).count()
    assert trace(receipt).json["state"] == "streamed"


def test_dropped_events_say_why(
    service: Service, trace: Callable[..., TestResponse], send: Callable[..., list[str]], view: Callable[..., Payload]
) -> None:
    """A receipt of a dropped event holds its reason, and costs no read."""
    service.edit_site(excluded_paths=("/private/**",))
    service.clock.advance(seconds=10)
    (receipt,) = send(view(page_url="https://shop.example/private/x"))
    told = trace(receipt).json
    assert (told["state"], told["reason"], told["items_read"]) == ("dropped", "excluded_path", 0)


def test_events_of_browsers_are_found_by_their_ids(
    service: Service, trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """With the session or the user that they were sent with; made ids are as good as own ones."""
    service.post([view(id="e1"), view(timestamp=None)])
    made = service.post(view(event_type="click", id=None)).json["ids"][0]
    assert trace("e1", session_id="s_abc").status_code == 404
    Worker(service).count()
    for event_id in ("e1", made):
        for query in ({"session_id": "s_abc"}, {"user_id": "u_abc"}):
            told = trace(event_id, **query).json
            assert (told["state"], told["shard"]) == ("applied", "shardId-000000000000")
    forget_timelines(service.store)
    assert trace("e1", user_id="u_abc").json["state"] == "applied"
    assert trace("e1", session_id="s_abc").status_code == 404
    assert trace("e2", user_id="u_abc").status_code == 404
    assert trace("e1", user_id="other").status_code == 404
    assert trace("e1").status_code == 404


def test_ids_are_looked_for_in_the_own_site_only(
    service: Service, trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """A key of one site tells nothing about another's events."""
    service.post(view(id="e1", site="shop"))
    Worker(service).count()
    assert trace("e1", session_id="s_abc").status_code == 404
    assert trace("e1", session_id="s_abc", site="shop").status_code == 403
    assert trace("e1", session_id="s_abc", site="nowhere").status_code == 404
    assert trace("e1", key="shop-key", session_id="s_abc", site="shop").json["state"] == "applied"


def test_a_receipt_is_for_the_key_that_it_was_made_with(
    send: Callable[..., list[str]], trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """No key, another key, or a changed letter: nothing is told."""
    (receipt,) = send(view())
    assert trace(receipt, key=None).status_code == 401
    answer = trace(receipt, key="shop-key", site="shop")
    assert (answer.status_code, answer.json["error"]["reason"]) == (404, "unknown_receipt")
    middle = len(receipt) // 2
    other = "A" if receipt[middle] != "A" else "B"
    assert trace(receipt[:middle] + other + receipt[middle + 1 :]).status_code == 404


def test_a_key_that_was_revoked_traces_nothing(
    service: Service, send: Callable[..., list[str]], trace: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Also not what was sent with it."""
    (receipt,) = send(view())
    service.edit_site(keys=())
    service.clock.advance(seconds=10)
    assert trace(receipt).status_code == 403


def test_any_text_is_a_receipt_or_not(rng: random.Random) -> None:
    """What was written is read again; random texts and damaged receipts give nothing, and no error."""
    for _ in range(300):
        receipt = Receipt("default", 1, "", rng.getrandbits(63), 5, "ü" * rng.randrange(50), 7, 8, "shard", "9" * 56, 3)
        text = write_receipt(receipt, "key")
        assert read_receipt(text, "key") == receipt
        assert read_receipt(text, "key2") is None
        cut = text[: rng.randrange(len(text))]
        assert read_receipt(cut, "key") is None
        noise = "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x110000)])) for _ in range(40))
        assert read_receipt(noise, "key") is None
        # Only characters that a URL never escapes.
        assert re.fullmatch(r"[A-Za-z0-9._-]+", text)
