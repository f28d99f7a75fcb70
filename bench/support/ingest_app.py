"""What `bench.ingest` measures, as one WSGI application: a bare Flask view, and ours on a stream that takes its time.

POST /bare      parse the body with msgspec, answer 202
/sqlite/...     ours on the embedded backend, whose files are in BENCH_FOLDER
everything else ours; each PutRecords takes BENCH_PUT_MS, and what it brought goes to a file of BENCH_FOLDER
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Response, request

from ingest.app import Backend, create_app, pace_of
from ingest.delivery.group_commit import Pace
from ingest.pipeline.payload import Payload
from liveinsight.model.clock import system_clock
from liveinsight.runtime.gc_tuning import tune_for_requests
from liveinsight.runtime.metrics import FOLDER_VARIABLE, IngestMetrics
from liveinsight.runtime.wsgi_server import at_exit
from liveinsight.settings import Settings
from liveinsight.sites.cache import SiteDirectory
from liveinsight.sites.repository import create_missing, load_sites
from liveinsight.storage.stream import OutRecord, PutOutcome
from liveinsight.testing.memory_store import MemoryStore
from liveinsight.wiring import open_stream_for_requests

_BUFFER = 4 * 1024 * 1024
"""Bytes: writing lets go of the interpreter, which a call shall do only once, for as long as it takes."""
_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[OutRecord]).decode


class SlowStream:
    """Takes everything, after a while; what it took is kept for the parent to look at."""

    def __init__(self, seconds: float, folder: Path | None) -> None:
        self._seconds = seconds
        self._file = None if folder is None else (folder / f"{os.getpid()}.records").open("ab", buffering=_BUFFER)
        if self._file:
            at_exit(self._file.close)

    def put(self, records: Sequence[OutRecord]) -> list[PutOutcome]:
        if self._seconds:
            time.sleep(self._seconds)
        if self._file:
            call = _encode(records)
            self._file.write(_LENGTH.pack(len(call)) + call)
        return [PutOutcome("shardId-000000000000", "1", "")] * len(records)


def read_calls(path: Path) -> Iterator[list[OutRecord]]:
    """The records of each call that a `SlowStream` has kept."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + size
        yield _decode(data[at - size : at])


def bare_app() -> Flask:
    """What Flask and the parser cost by themselves."""
    app = Flask("bare", static_folder=None)
    one, many = msgspec.json.Decoder(Payload), msgspec.json.Decoder(list[Payload])
    encode = msgspec.json.Encoder().encode

    def view() -> Response:
        body = request.get_data(cache=False)
        payloads = many.decode(body) if body[:1] == b"[" else [one.decode(body)]
        answer = {"accepted": len(payloads), "ids": [payload.id for payload in payloads]}
        return Response(encode(answer), 202, content_type="application/json")

    app.add_url_rule("/bare", "bare", view, methods=["POST"])
    return app


def our_app(stream: Any, *, pace: Pace | None = None, metrics: IngestMetrics | None = None) -> Flask:
    """The ingest application, all in memory."""
    settings = Settings.from_env({})
    store = MemoryStore()
    create_missing(store, settings.sites)
    sites = SiteDirectory(lambda: load_sites(store), system_clock)
    tracker = Path(__file__).resolve().parent.parent.parent / "tracker" / "liveinsight.js"
    backend = Backend(stream, store, sites, lambda: store, system_clock)
    return create_app(settings, backend, tracker_file=tracker, pace=pace, metrics=metrics)


def all_of(folder: Path) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The application that Granian serves."""
    shared = os.environ.get(FOLDER_VARIABLE)
    metrics = IngestMetrics(Path(shared) if shared else None)
    bare = bare_app()
    on_stub = our_app(SlowStream(float(os.environ["BENCH_PUT_MS"]) / 1000, folder), metrics=metrics)
    settings = Settings.from_env({"LIVEINSIGHT_DATA_DIR": str(folder)})
    on_sqlite = our_app(open_stream_for_requests(settings), metrics=metrics, pace=pace_of(settings))

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/bare":
            return bare(environ, start_response)
        if path.startswith("/sqlite/"):
            environ["PATH_INFO"] = path.removeprefix("/sqlite")
            return on_sqlite(environ, start_response)
        return on_stub(environ, start_response)

    return app


if "BENCH_FOLDER" in os.environ:
    app = all_of(Path(os.environ["BENCH_FOLDER"]))
    tune_for_requests()
