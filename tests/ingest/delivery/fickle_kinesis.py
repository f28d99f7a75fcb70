"""A Kinesis that takes records over HTTP and fails in the way it is told to. It remembers what it has taken."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from liveinsight.model.events import LEDGER, decode_record


class Mood(Enum):
    """What it does with a PutRecords call."""

    WELL = "takes all"
    REFUSES = "throttles the whole call, or answers 500"
    DENIES = "access denied"
    HANGS = "takes the connection, answers after the client has gone; what it took by then it keeps"
    HALF = "takes half of the records"
    CUTS = "takes all, and closes the connection instead of an answer"


class FickleKinesis(ThreadingHTTPServer):
    """The server; `mood` may be changed at any time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, rng: random.Random, hang_seconds: float = 3.5) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.mood = Mood.WELL
        self.hang_seconds = hang_seconds
        self.rng = rng
        self.event_ids: set[int] = set()
        self.refused: Counter[str] = Counter()
        """By reason, as the ledgers say."""
        self.calls = dict.fromkeys(Mood, 0)
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def take(self, records: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Keep the records; in a bad mood only some."""
        answers: list[dict[str, Any]] = []
        for record in records:
            if self.mood is Mood.HALF and self.rng.random() < 0.5:
                answers.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
                continue
            events = decode_record(base64.b64decode(record["Data"]))
            ids = [event.event_id for event in events]
            with self._lock:
                self.event_ids.update(ids)
                for event in events:
                    if event.type == LEDGER:
                        self.refused.update(event.props)
            answers.append({"ShardId": "shardId-000000000000", "SequenceNumber": "1"})
        return answers

    def handle_error(self, *_: object) -> None:
        """Clients that have gone are what this is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FickleKinesis
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["X-Amz-Target"].endswith(".PutRecords")
        mood = self.server.mood
        self.server.calls[mood] += 1
        if mood is Mood.REFUSES and self.server.rng.random() < 0.5:
            self._answer(500, {"__type": "InternalFailure"})
        elif mood is Mood.REFUSES:
            self._answer(400, {"__type": "ProvisionedThroughputExceededException"})
        elif mood is Mood.DENIES:
            self._answer(400, {"__type": "AccessDeniedException", "message": "not authorized: kinesis:PutRecords"})
        else:
            time.sleep(self.server.hang_seconds if mood is Mood.HANGS else 0.01)
            answers = self.server.take(request["Records"])
            if mood is Mood.CUTS:
                self.close_connection = True
            else:
                self._answer(200, {"FailedRecordCount": sum("ErrorCode" in one for one in answers), "Records": answers})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
