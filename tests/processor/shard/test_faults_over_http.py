"""Counting once on DynamoDB's own semantics, when the network and DynamoDB misbehave.

    RecordProcessor -> FaultyStore (crashes) -> DynamoStore -> boto3 --HTTP--> proxy (faults) --HTTP--> MiniStack

The proxy cuts connections before or after a request was carried out, throttles requests or single statements, leaves
keys unprocessed, answers 500 or answers late, so the client's own retries and time limits are at work, too.
Every run is one seed and has a site and an incarnation of its own in the same tables.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from liveinsight.aws.dynamodb import Dynamo
from liveinsight.aws.dynamodb_store import DynamoStore
from liveinsight.aws.schema import TableNames
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.rollups import DIMENSIONS
from liveinsight.devstack.ministack import MiniStack
from liveinsight.model.buckets import DAY_MS, day_from_number, day_number, days_between, minute_of, quarter_of
from liveinsight.settings import Settings
from liveinsight.storage.store import ProcessorStore, Store
from liveinsight.testing.builders import NOON, FakeClock
from liveinsight.testing.expected import Tally, as_folded, dead_letters_in, differences, numbers
from liveinsight.testing.faulty_store import ONLY_CRASHES
from liveinsight.testing.simulation import Simulation
from processor.shard.options import ProcessorOptions
from processor.shard.record_processor import RecordProcessor
from tests.seeds import simulation_seeds

SEEDS = simulation_seeds(50)
READ_TIMEOUT = 0.5
OPTIONS = ProcessorOptions(
    counters_interval=1, previews_interval=2, sessions_interval=3, give_up_after=60, drain_within=5
)

THROTTLED = (400, b'{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}')
BROKEN = (500, b'{"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"}')
ODDS = {
    "cut before": 0.02,
    "cut after": 0.03,
    "throttled": 0.02,
    "broken before": 0.01,
    "broken after": 0.02,
    "in part": 0.06,
    "slow": 0.02,
    "too slow": 0.002,
}

Answer = tuple[int, bytes]
Ask = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


class FaultyProxy(ThreadingHTTPServer):
    """Passes DynamoDB requests on to `target`, with the faults of `ODDS` while `faulty`."""

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.rng = random.Random(0)
        self.faulty = False
        self.seen: Counter[str] = Counter()
        self.target = target
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def fault(self) -> str:
        if not self.faulty:
            return ""
        fault = self.rng.choices(["", *ODDS], [1 - sum(ODDS.values()), *ODDS.values()])[0]
        self.seen[fault] += 1
        return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy
    # Header and body in one packet: two would wait for each other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._onward = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=10)

    def finish(self) -> None:
        self._onward.close()
        super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.server.fault()
        if fault in {"slow", "too slow"}:
            # The client gives up on the slow one and asks again; this one is carried out late all the same.
            threading.Event().wait(0.02 if fault == "slow" else READ_TIMEOUT + 0.1)
        if fault == "cut before":
            self.close_connection = True
        elif fault in {"throttled", "broken before"}:
            self._answer(THROTTLED if fault == "throttled" else BROKEN)
        elif fault == "in part":
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, answer = in_part(operation, json.loads(body), self._ask_json, self.server.rng)
            self._answer((status, json.dumps(answer).encode()))
        else:
            passed_on = self._ask(body)
            if fault == "cut after":
                self.close_connection = True
            else:
                self._answer(BROKEN if fault == "broken after" else passed_on)

    def _ask(self, body: bytes) -> Answer:
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in {"host", "content-length"}
        }
        self._onward.request("POST", "/", body, headers)
        response = self._onward.getresponse()
        return response.status, response.read()

    def _ask_json(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, body = self._ask(json.dumps(request).encode())
        return status, json.loads(body)

    def _answer(self, answer: Answer) -> None:
        status, body = answer
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def in_part(operation: str, request: dict[str, Any], ask: Ask, rng: random.Random) -> tuple[int, dict[str, Any]]:
    """Leave some of a batch out, and say so in the way of its operation."""
    if operation == "BatchExecuteStatement":
        statements = request["Statements"]
        kept = [rng.random() < 0.7 for _ in statements]
        passed = [statement for statement, keep in zip(statements, kept, strict=True) if keep]
        status, answer = ask({**request, "Statements": passed}) if passed else (200, {"Responses": []})
        verdicts = iter(answer["Responses"])
        left_out = {"Error": {"Code": "ThrottlingError", "Message": "Throughput exceeds the current capacity."}}
        return status, {**answer, "Responses": [next(verdicts) if keep else left_out for keep in kept]}
    if operation in {"BatchWriteItem", "BatchGetItem"}:
        (table, wanted), *_ = request["RequestItems"].items()
        lists = wanted if operation == "BatchWriteItem" else wanted["Keys"]
        cut = rng.randrange(len(lists))
        now, later = lists[cut:], lists[:cut]

        def of_table(part: list[Any]) -> dict[str, Any]:
            return {table: part if operation == "BatchWriteItem" else {**wanted, "Keys": part}}

        status, answer = ask({**request, "RequestItems": of_table(now)})
        name = "UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"
        return status, {**answer, name: of_table(later) if later else {}}
    return ask(request)


@pytest.fixture
def proxy(ministack: MiniStack) -> Iterator[FaultyProxy]:
    server = FaultyProxy(ministack.port)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def faulty_dynamo(proxy: FaultyProxy, aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoStore]:
    """The store behind the proxy. Nobody waits between attempts, or most of the time would go into that."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    # As `liveinsight.aws.clients` makes it, but for the time limit.
    config = Config(
        retries={"mode": "standard", "max_attempts": 3}, read_timeout=READ_TIMEOUT, parameter_validation=False
    )
    session = boto3.Session("local", "local", region_name=aws.region)
    client = session.client("dynamodb", endpoint_url=proxy.url, config=config)
    yield DynamoStore(Dynamo(client, sleep=lambda _: None), TableNames.with_prefix(aws.table_prefix))
    client.close()


def make_processor(store: ProcessorStore, incarnation: int, clock: FakeClock) -> RecordProcessor:
    return RecordProcessor(store, incarnation, OPTIONS, clock, sleep=lambda seconds: clock.advance(seconds=seconds))


def read_back(store: Store, site: str, simulation: Simulation, expected: Tally) -> Tally:
    """All that is stored of a site, asked for as the API asks."""
    times = [event.occurred_at for _, _, event in simulation.placed]
    days = [day_from_number(event.day) for _, _, event in simulation.placed]
    first, last = min(times), max(times)
    items: list[tuple[CounterKey, Any]] = []
    totals = store.read_totals(site, quarter_of(first), quarter_of(last)).rows
    items += [(CounterKey("totals", site, bucket, "", ""), item) for bucket, item in totals]
    for kind in ("", *sorted({key.dimension for key in expected.counters if key.kind == "minute"} - {""})):
        minutes = store.read_minutes(site, minute_of(first), minute_of(last), kind).rows
        items += [(CounterKey("minute", site, minute, kind, ""), item) for minute, item in minutes]
    for day in map(day_number, days_between(min(days), max(days))):
        for name in (dimension.name for dimension in DIMENSIONS):
            rows = store.read_dimension(site, day, name).rows
            items += [(CounterKey("dimension", site, day, name, value), item) for value, item in rows]
    timelines = {session: store.read_timeline(*session, limit=1000).rows for session in expected.timelines}
    return Tally(
        numbers(items),
        {key: as_folded(state) for key, state in store.load_visitors(list(expected.sessions)).items()},
        {session: sorted(events, key=lambda pair: pair[0]) for session, events in timelines.items()},
        sorted(r.mark for r in dead_letters_in(store) if r.mark.startswith(f"{simulation.incarnation:013d}/")),
    )


@pytest.mark.simulation
def test_what_dynamodb_holds_equals_a_recount(
    faulty_dynamo: DynamoStore, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the network and DynamoDB do to requests, and whoever crashes, all that is stored equals the recount."""
    monkeypatch.setattr("liveinsight.counting.sessions.MAX_RECENT_IDS", 2)
    for seed in SEEDS:
        proxy.rng = random.Random(seed)
        site = f"s{seed}"
        simulation = Simulation(
            seed,
            make_processor,
            store=faulty_dynamo,
            faults=ONLY_CRASHES,
            events=30,
            # MiniStack removes expired items by the wall clock.
            start=NOON + 3650 * DAY_MS,
            site=site,
            # Incarnations rise: checkpoints of the runs before are of no account.
            incarnation=seed + 1,
        )
        proxy.faulty = True
        simulation.run()
        proxy.faulty = False
        expected = simulation.expected()
        wrong = differences(read_back(faulty_dynamo, site, simulation, expected), expected)
        assert wrong == [], f"TEST_SEED={seed} runs it alone (threads may differ)\n" + "\n".join(wrong)
    print(dict(proxy.seen))
    assert len(SEEDS) < 50 or set(proxy.seen) == {"", *ODDS}, "some fault was never injected"
