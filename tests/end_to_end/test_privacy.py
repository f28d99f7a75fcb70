"""No address anywhere: not in a record, an item, a log line, a metric, a trace, a receipt, or any answer."""

from __future__ import annotations

import http.client
import ipaddress
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import zstandard
from msgspec.structs import replace

from ingest.tracing.receipts import read_receipt
from liveinsight.aws.clients import dynamodb_client
from liveinsight.aws.schema import TableNames
from liveinsight.counting.compression import decompress
from liveinsight.devstack.loopback import free_port
from liveinsight.settings import Settings
from liveinsight.sites.repository import change_sites
from liveinsight.sites.site import ApiKey, key_digest
from liveinsight.storage.store import Store
from liveinsight.storage.stream import StartAt, Stream
from liveinsight.wiring import open_store, open_stream

pytestmark = pytest.mark.end_to_end

CLIENT = "127.0.0.77"
FORWARDED = ("203.0.113.77", "2001:db8::dead:beef")
GIVEN = ("198.51.100.177", "2001:db8::77:beef", "::ffff:203.0.113.178")
"""What servers say of their visitors."""
WRONG = ("203.0.113.179/33", "2001:db8::beef:79:", "203.0.113.180 203.0.113.181")
"""What is no address, but says one."""
KEY = "li_privacy-test-key"
IN_LOG = ("198.51.100.23", "2001:db8::cafe:42")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def traces(address: str) -> list[bytes]:
    """What an address would look like if it were stored: as text, packed either way round, or as a number."""
    parsed = ipaddress.ip_address(address)
    texts = {address, parsed.compressed, parsed.exploded, str(int(parsed)), parsed.packed.hex(), parsed.reverse_pointer}
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    if mapped:
        return [*traces(str(mapped)), parsed.packed]
    forms = [form for text in texts for form in (text.encode(), text.upper().encode(), quote(text, safe="").encode())]
    return [*forms, parsed.packed, parsed.packed[::-1]]


def ask(port: int, method: str, path: str, body: bytes | None = None, **more: str) -> bytes:
    """A request from the client's address, with others in its headers; status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(CLIENT, 0))
    headers = {
        "Content-Type": "text/plain",
        "User-Agent": AGENT,
        "X-Forwarded-For": ", ".join(FORWARDED),
        "Forwarded": f'for="{FORWARDED[0]}"',
        "X-Real-IP": FORWARDED[1],
        "X-Request-Id": FORWARDED[0],
        **more,
    }
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    told = f"{answer.status} {answer.headers}".encode() + answer.read()
    connection.close()
    return told


def use_everything(port: int) -> tuple[bytes, list[str]]:
    """Every endpoint, with what it takes and what it refuses; all that they have answered, and the receipts."""
    page_view = {"event_type": "page_view", "page_url": "https://shop.example/a"}
    keyed = {"Authorization": f"Bearer {KEY}"}
    told = []

    def post(path: str, body: Any, **headers: str) -> bytes:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told.append(ask(port, "POST", path, data, **headers))
        return told[-1]

    for body in (page_view, [{**page_view, "timestamp": 1}, {"event_type": 5}, {**page_view, "site": "nowhere"}]):
        post("/collect", body)
    post("/collect", b"\xff garbage")
    post("/collect", b"[" * 50_000)
    post("/collect", page_view, **{"Content-Type": "image/png"})
    post("/collect", page_view, DNT="1")
    given = [{**page_view, "id": address, "client_address": address} for address in GIVEN]
    for event in given:
        # The id is the sender's to choose, and given back: it must not be an address here.
        event["id"] = f"e{len(event['id'])}{hash(event['id']) % 1000}"
    accepted = post("/v1/events", given, **keyed)
    assert accepted.startswith(b"202"), accepted
    for wrong in WRONG:
        refused = post("/v1/events", {**page_view, "client_address": wrong}, **keyed)
        assert refused.startswith(b"400"), refused
    post("/v1/events", given)
    receipts = [one["receipt"] for one in json.loads(accepted[accepted.index(b"{") :])["events"]]
    told += [str(read_receipt(receipt, KEY)).encode() for receipt in receipts]
    paths = ["/v1/events/nothing/trace?session_id=x", "/collect.gif?url=/a", "/collect.gif", "/metrics", "/healthz"]
    paths += ["/openapi.json", "/readyz", "/v1/limits", "/tracker.js", "/nothing"]
    told += [ask(port, "GET", path, None, **keyed) for path in paths]
    return b"\n".join([*told, *traced(port, receipts)]), receipts


def traced(port: int, receipts: list[str]) -> list[bytes]:
    """What is told of events."""
    return [ask(port, "GET", f"/v1/events/{one}/trace", Authorization=f"Bearer {KEY}") for one in receipts]


def wait_until_listening(port: int) -> None:
    """Until ingest answers."""
    give_up_at = time.monotonic() + 30
    while True:
        try:
            ask(port, "GET", "/healthz")
            return
        except OSError:
            assert time.monotonic() < give_up_at
            time.sleep(0.1)


def everything_stored(settings: Settings, stream: Stream) -> bytes:
    """All records of the stream and all items of all tables, as bytes with nothing left out."""
    parts: list[bytes] = []
    for shard in stream.shards():
        iterator: str | None = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
        while iterator is not None:
            batch = stream.read(iterator, 1000)
            parts.extend(record.data + record.partition_key.encode() for record in batch.records)
            iterator = batch.next_iterator if batch.records else None
    if not settings.on_aws:
        files = list(Path(settings.data_dir).glob("*.db*"))
        return b"\n".join(
            [*parts, *(path.read_bytes() for path in files), *_rows(Path(settings.data_dir) / "store.db")]
        )
    client: Any = dynamodb_client(settings)
    names = TableNames.with_prefix(settings.table_prefix)
    for table in (names.counters, names.sessions):
        for page in client.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                parts.extend(_bytes_of(item))
    return b"\n".join(parts)


def _rows(path: Path) -> list[bytes]:
    """All values of all rows of a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        rows = [row for (table,) in tables for row in connection.execute(f"SELECT * FROM {table}")]
    return [part for row in rows for part in _bytes_of(list(row))]


def _bytes_of(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        return [part for key, inner in value.items() for part in (key.encode(), *_bytes_of(inner))]
    if isinstance(value, (list, set)):
        return [part for inner in value for part in _bytes_of(inner)]
    if isinstance(value, bytes):
        # States and timelines are compressed: an address in one would not be seen from outside.
        with suppress(zstandard.ZstdError):
            return [value, decompress(value)]
        return [value]
    return [str(value).encode()]


def test_no_address_anywhere(
    tmp_path: Path,
    settings: Settings,
    start: Callable[..., Any],
    counted: Callable[[Store], None],
) -> None:
    """After live events, refusals, garbage and an import, no trace of an address is found in anything kept or told."""
    stream, store = open_stream(settings), open_store(settings)
    key = ApiKey(id="k", name="test", digest=key_digest(KEY), created_at=0)
    change_sites(store, lambda sites: replace(sites, sites=tuple(replace(site, keys=(key,)) for site in sites.sites)))
    port = free_port()
    ingest = start(
        "ingest", LIVEINSIGHT_INGEST_PORT=str(port), LIVEINSIGHT_TRUSTED_PROXIES="1", LIVEINSIGHT_LOG_LEVEL="DEBUG"
    )
    worker = start("worker", LIVEINSIGHT_LOG_LEVEL="DEBUG")
    worker.wait_for('"initialize"', times=2)
    wait_until_listening(port)
    told, receipts = use_everything(port)
    log = tmp_path / "access.log"
    lines = [
        f'{address} - - [17/May/2015:10:05:{second:02d} +0000] "GET /p{second} HTTP/1.1" 200 5 "-" "{AGENT}"'
        for second, address in enumerate(IN_LOG)
    ]
    log.write_text("\n".join([*lines, f"{IN_LOG[0]} bad line from {IN_LOG[1]}", ""]))
    imported = start("import-log", "--quiet", "--wait", str(log))
    imported.wait_for("The events are from")
    imported.wait()
    counted(store)
    told += b"".join(traced(port, receipts))
    assert told.count(b'"state":"applied"') == len(GIVEN)
    assert ingest.drain() == 0
    assert worker.drain() == 0
    stored = everything_stored(settings, stream)
    assert b"shop.example" in stored
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("*.log") if path != log)
    assert b"malformed line" in logs
    wrong = ("203.0.113.179", "203.0.113.180", "203.0.113.181")
    for address in (CLIENT, *FORWARDED, *GIVEN, *wrong, *IN_LOG):
        for trace in traces(address):
            assert trace not in stored, f"{address} as {trace!r} is stored"
            assert trace not in logs, f"{address} as {trace!r} is in a log"
            assert trace not in told, f"{address} as {trace!r} is in an answer"
