"""How our WSGI applications are served: Granian, with threads that wait for AWS."""

from __future__ import annotations

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels


def serve(target: str, host: str, port: int, *, workers: int, threads: int) -> None:
    """Serve ``module:app`` until SIGTERM or Ctrl-C; requests under way are answered first.

    Args:
        target: the WSGI application's import path.
        host: address to listen on.
        port: port to listen on.
        workers: processes.
        threads: requests that one process may have under way.
    """
    Granian(
        target,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        backpressure=4 * threads,
        log_level=LogLevels.warning,
        workers_kill_timeout=15,
        respawn_failed_workers=True,
    ).serve()
