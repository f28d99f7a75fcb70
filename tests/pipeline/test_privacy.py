"""No address anywhere: not in a record, an item, a log line, or an answer."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liveinsight.aws import dynamodb_client
from liveinsight.settings import Settings
from liveinsight.store import Store
from liveinsight.stream import StartAt, Stream
from liveinsight.tables import TableNames

CLIENT = "127.0.0.77"
FORWARDED = ("203.0.113.77", "2001:db8::dead:beef")
IN_LOG = ("198.51.100.23", "2001:db8::cafe:42")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def traces(address: str) -> list[bytes]:
    """What an address would look like if it were stored: as text, packed, or as a number."""
    parsed = ipaddress.ip_address(address)
    return [address.encode(), parsed.exploded.encode(), str(int(parsed)).encode(), parsed.packed]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(port: int, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(CLIENT, 0))
    headers = {
        "Content-Type": "text/plain",
        "User-Agent": AGENT,
        "X-Forwarded-For": ", ".join(FORWARDED),
        "Forwarded": f'for="{FORWARDED[0]}"',
        "X-Real-IP": FORWARDED[1],
    }
    connection.request("POST", "/collect", body, headers)
    answer = connection.getresponse()
    told = str(answer.headers).encode() + answer.read()
    connection.close()
    return told


def everything_stored(settings: Settings, stream: Stream) -> bytes:
    """All records of the stream and all items of all tables, as bytes with nothing left out."""
    parts: list[bytes] = []
    for shard in stream.shards():
        iterator: str | None = stream.iterator(shard.shard_id, after=None, start=StartAt.TRIM_HORIZON)
        while iterator is not None:
            batch = stream.read(iterator, 1000)
            parts.extend(record.data + record.partition_key.encode() for record in batch.records)
            iterator = batch.next_iterator if batch.records else None
    client: Any = dynamodb_client(settings)
    names = TableNames.with_prefix(settings.table_prefix)
    for table in (names.counters, names.sessions):
        for page in client.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                parts.extend(_bytes_of(item))
    return b"\n".join(parts)


def _bytes_of(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        return [part for key, inner in value.items() for part in (key.encode(), *_bytes_of(inner))]
    if isinstance(value, (list, set)):
        return [part for inner in value for part in _bytes_of(inner)]
    if isinstance(value, bytes):
        # Visitors' states are compressed: an address in one would not be seen from outside.
        return [value, *([zlib.decompress(value)] if value.startswith(b"\x78\x01") else [])]
    return [str(value).encode()]


def test_no_address_anywhere(
    tmp_path: Path,
    aws: Settings,
    open_aws: Callable[[Settings], tuple[Stream, Store]],
    start: Callable[..., Any],
    counted: Callable[[Store], None],
) -> None:
    """After live events, refusals, garbage and an import, no trace of an address is found in anything kept or told."""
    stream, store = open_aws(aws)
    port = free_port()
    ingest = start(
        "ingest", LIVEINSIGHT_INGEST_PORT=str(port), LIVEINSIGHT_TRUSTED_PROXIES="1", LIVEINSIGHT_LOG_LEVEL="DEBUG"
    )
    worker = start("worker", LIVEINSIGHT_LOG_LEVEL="DEBUG")
    worker.wait_for('"initialize"', times=2)
    page_view = {"event_type": "page_view", "page_url": "https://shop.example/a", "timestamp": 1}
    told = b""
    give_up = 100
    while give_up:
        try:
            told = post(port, json.dumps({**page_view, "timestamp": None}).encode())
            break
        except OSError:
            give_up -= 1
            worker.wait_for("", times=0)
            __import__("time").sleep(0.1)
    told += post(port, json.dumps([page_view, {"event_type": 5}, {**page_view, "site": "nowhere"}]).encode())
    told += post(port, b"\xff garbage") + post(port, b"[" * 50_000)
    log = tmp_path / "access.log"
    lines = [
        f'{address} - - [17/May/2015:10:05:{second:02d} +0000] "GET /p{second} HTTP/1.1" 200 5 "-" "{AGENT}"'
        for second, address in enumerate(IN_LOG)
    ]
    log.write_text("\n".join([*lines, f"{IN_LOG[0]} bad line from {IN_LOG[1]}", ""]))
    imported = start("import-log", "--quiet", "--wait", str(log))
    imported.wait_for("The events are from")
    imported._process.wait(30)
    counted(store)
    assert ingest.drain() == 0
    assert worker.drain() == 0
    stored = everything_stored(aws, stream)
    assert b"shop.example" in stored
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("*.log") if path != log)
    assert b"malformed line" in logs
    for address in (CLIENT, *FORWARDED, *IN_LOG):
        for trace in traces(address):
            assert trace not in stored, f"{address} as {trace!r} is stored"
            assert trace not in logs, f"{address} as {trace!r} is in a log"
            assert trace not in told, f"{address} as {trace!r} is in an answer"
