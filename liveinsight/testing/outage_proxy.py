"""DynamoDB that fails for a while, for tests of whatever works on it: a proxy that a program is pointed at.

    program --HTTP--> OutageProxy --HTTP--> local AWS stack

While an outage lasts nothing gets through: requests are throttled, in all the ways in which DynamoDB says so, or told
that the table is not there. Requests that were on their way are carried out.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

THROTTLED = "throttled"
GONE = "gone"
_PREFIX = "com.amazonaws.dynamodb.v20120810#"


class OutageProxy(ThreadingHTTPServer):
    """Passes DynamoDB requests on to a port of loopback, unless `outage` says otherwise.

    Attributes:
        outage: "" (none), `THROTTLED` or `GONE`.
        tables: names of the tables that it hits; none means all.
        refused: how many requests were answered with a failure, by operation.
    """

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.outage = ""
        self.tables: tuple[str, ...] = ()
        self.refused: Counter[str] = Counter()
        self.target = target
        self.turns = itertools.count()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def hits(self, body: bytes) -> bool:
        """Whether a request is to fail."""
        # Names of tables stand between quotes in requests, with a backslash where they stand inside a statement.
        return bool(self.outage) and (not self.tables or any(_names(table, body) for table in self.tables))

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed leaves its connection in the middle of a request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OutageProxy
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
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if self.server.hits(body):
            self.server.refused[operation] += 1
            self._answer(*failure(self.server.outage, operation, json.loads(body), next(self.server.turns)))
        else:
            self._answer(*self._pass_on(body))

    def _pass_on(self, body: bytes) -> tuple[int, bytes]:
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in {"host", "content-length"}
        }
        try:
            self._onward.request("POST", "/", body, headers)
            response = self._onward.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, OSError):
            # The stack has closed an idle connection.
            self._onward.close()
            self._onward.request("POST", "/", body, headers)
            response = self._onward.getresponse()
            return response.status, response.read()

    def _answer(self, status: int, body: bytes) -> None:
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


def _names(table: str, body: bytes) -> bool:
    return f'"{table}"'.encode() in body or f'"{table}\\"'.encode() in body


def failure(outage: str, operation: str, request: dict[str, Any], turn: int) -> tuple[int, bytes]:
    """What DynamoDB answers in an outage; `turn` picks one of the ways in which it may."""
    if operation == "BatchExecuteStatement" and turn % 2:
        # The request as a whole succeeds, and each statement fails.
        code = (
            "ResourceNotFound"
            if outage == GONE
            else ("ThrottlingError", "ProvisionedThroughputExceeded")[turn // 2 % 2]
        )
        error = {"Error": {"Code": code, "Message": "an outage, for a test"}}
        return 200, json.dumps({"Responses": [error] * len(request["Statements"])}).encode()
    if outage == THROTTLED and operation == "BatchGetItem" and turn % 3 == 0:
        return 200, json.dumps({"Responses": {}, "UnprocessedKeys": request["RequestItems"]}).encode()
    if outage == THROTTLED and operation == "BatchWriteItem" and turn % 3 == 0:
        return 200, json.dumps({"UnprocessedItems": request["RequestItems"]}).encode()
    code = {
        GONE: "ResourceNotFoundException",
        THROTTLED: ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")[turn % 3],
    }[outage]
    return 400, json.dumps({"__type": _PREFIX + code, "message": "an outage, for a test"}).encode()
