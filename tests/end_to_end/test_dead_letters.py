"""Bad input on the real path: ingest and worker as processes, a stream and tables that answer over HTTP."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from ingest.contract.limits import MAX_BODY_BYTES
from liveinsight.model.clock import system_clock
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import Store
from liveinsight.storage.stream import OutRecord
from liveinsight.testing.builders import an_event
from liveinsight.testing.expected import dead_letters_in
from liveinsight.wiring import open_store, open_stream

pytestmark = pytest.mark.end_to_end

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
UNDECODABLE = {
    b"": "not_ours",
    b"no record of ours": "not_ours",
    b"\xf3\x89\x9a\xc2": "not_ours",
    b"LI\x09later": "unknown_version",
    b"LI\x01\x93\x01": "damaged",
}


def events_of(store: Store) -> int:
    """Events of the last day, of any type: a byte changed in one gives a type of its own."""
    quarter = system_clock() // 900_000
    rows = store.read_totals("default", quarter - 96, quarter + 1).rows
    return sum(item.measures.get("events", 0) for _, item in rows)


def test_undecodable_records_among_good_records(
    settings: Settings,
    start: Callable[..., Any],
    counted: Callable[[Store], None],
) -> None:
    """Undecodable records become dead letters with their reason; those before and behind them are counted."""
    stream, store = open_stream(settings), open_store(settings)
    now, good = system_clock(), 0
    for data in (*UNDECODABLE, *UNDECODABLE):
        for visitor in (1, 257, 2):
            good += 1
            event = an_event(at=now, visitor=visitor, event_id=good, received_at=now)
            # They go to the very keys, and so shards, that its neighbours have.
            records = [OutRecord(partition_key(visitor), encode_record([event]))]
            if data:
                records.append(OutRecord(partition_key(visitor), data))
            assert all(outcome.sequence_number for outcome in stream.put(records))
    worker = start("worker", LIVEINSIGHT_DEAD_LETTER_LIMIT="1")
    counted(store)
    assert events_of(store) == good
    dead_letters = dead_letters_in(store)
    assert sorted((record.data, record.reason) for record in dead_letters) == sorted(
        (data, reason) for data, reason in UNDECODABLE.items() if data for _ in range(6)
    )
    assert worker.drain() == 0


def hostile(rng: random.Random, number: int) -> bytes:
    """A body that must be refused, or taken in part: never an answer of 500, never a record that hurts."""
    view = {"event_type": "page_view", "page_url": f"https://shop.example/{number}", "id": f"good-{number}"}
    body = json.dumps(view).encode()
    cut = rng.randrange(len(body))
    return rng.choice(
        [
            body[:cut],
            body[:cut] + bytes([rng.randrange(256)]) + body[cut + 1 :],
            b"[" * rng.randrange(1, 100_000),
            json.dumps({**view, "timestamp": rng.choice([10**18, -1, "soon", [], 1e308])}).encode(),
            json.dumps({**view, "props": {"a": {"b": {"c": []}}}}).encode(),
            json.dumps({**view, "page_url": rng.choice([7, None, "", "javascript:alert(1)", "x" * 70_000])}).encode(),
            json.dumps(
                {"events": [view, rng.choice([[], 7, None, {}, {**view, "event_type": "x" * 10_000}])]}
            ).encode(),
            body.decode().encode("utf-16"),
            b"\xff" * rng.randrange(1, 2_000_000),
        ]
    )


def test_hostile_bodies_leave_a_shard_that_works(
    settings: Settings,
    start: Callable[..., Any],
    counted: Callable[[Store], None],
    rng: random.Random,
) -> None:
    """Whatever is posted is answered below 500, with a reason where it is refused; what was taken is counted."""
    store = open_store(settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    start("ingest", LIVEINSIGHT_INGEST_PORT=str(port))
    worker = start("worker")
    worker.wait_for('"initialize"', times=2)
    taken = 0
    for number in range(120):
        status, answer = post(port, hostile(rng, number))
        assert status < 500, (number, answer)
        if status in {202, 207}:
            taken += answer["accepted"]
        else:
            assert answer["error"]["reason"] if "error" in answer else answer["errors"][0]["reason"]
        if number % 10 == 0:
            good = {"event_type": "page_view", "page_url": f"https://shop.example/fine/{number}"}
            assert post(port, json.dumps(good).encode())[0] == 202
            taken += 1
    counted(store)
    assert events_of(store) == taken
    assert not dead_letters_in(store)
    assert worker.drain() == 0


def post(port: int, body: bytes) -> tuple[int, Any]:
    """The answer's status and body; waits for a server that is coming up."""
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/collect", body, {"Content-Type": "text/plain", "User-Agent": AGENT})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ConnectionRefusedError:
            time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            # Too large a body is answered unread, and who still writes by then may not see the answer.
            assert len(body) > MAX_BODY_BYTES
            return 413, {"error": {"reason": "too_large"}}
        finally:
            connection.close()
    raise AssertionError("ingest did not come up")
