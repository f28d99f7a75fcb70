"""Addresses at which servers of this machine listen.

In: a host, as a setting has it, and a port. Out: whether it can be listened at, and how this machine reaches it.
"""

from __future__ import annotations

import socket

from liveinsight.model.errors import SettingsError

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here


def problem_at(host: str, port: int) -> str:
    """Why no server can listen there; empty if one can.

    A server that shares its port with others (SO_REUSEPORT), as Granian does, would notice nothing.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return str(error.strerror)
    return ""


def refuse_taken_port(host: str, port: int, port_setting: str) -> None:
    """Make sure that a server can listen there.

    Raises:
        SettingsError: the port is taken, or the address is not one of this machine.
    """
    if problem := problem_at(host, port):
        raise SettingsError(f"{port_setting}={port}: cannot listen on {host}:{port}: {problem}")


def reached_at(host: str) -> str:
    """The address at which this machine reaches a server that listens on `host`."""
    return _EVERYWHERE.get(host, host)


def url_at(host: str, port: int) -> str:
    """The URL by which this machine reaches a server, without a slash at its end."""
    address = reached_at(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
