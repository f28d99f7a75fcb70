"""Ports of this machine: which are free, and whether a server answers."""

from __future__ import annotations

import http.client
import socket


def free_port(preferred: int = 0) -> int:
    """`preferred` if it is free, otherwise any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on this machine")


def is_free(port: int) -> bool:
    """Whether `port` is free."""
    return free_port(port) == port


def http_status(port: int, path: str, host: str = "127.0.0.1") -> int:
    """HTTP status of a GET; 0 when there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
