"""Serves the WSGI applications with Granian: threads that wait for AWS, and bounds on connections.

A connection is closed that has sent no whole header for half a minute, whether it has sent any of it or none. Only
HTTP/1.1 is spoken: proxies use it, and a connection has one request at a time, so that connections bound requests.
Granian has no deadline for bodies: a stalled one holds a thread (see `ingest.http.body_watchdog`).
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from liveinsight.runtime.cpu_affinity import Cores
from liveinsight.runtime.listening import refuse_taken_port
from liveinsight.runtime.metrics import FOLDER_VARIABLE

HEADER_TIMEOUT_MS = 30_000
"""Also how long an idle connection is kept. A proxy that keeps connections longer opens new ones."""
HEADER_BYTES = 64 * 1024
CONNECTIONS_PER_THREAD = 4
"""Waiting and idle connections besides those being served."""
PARENT_SECONDS = 1.0
"""Between two checks of a worker for its parent and for a free core."""
SPARE_FILES = 1024
"""For connections to AWS, logs, and what libraries keep open."""


def serve(target: str, host: str, port: int, *, port_setting: str, workers: int, threads: int) -> None:
    """Serve ``module:app`` until SIGTERM or Ctrl-C; requests under way are answered first.

    The processes share their metrics in a folder that is deleted at the end, unless the environment names another one.

    Args:
        target: the WSGI application's import path.
        host: address to listen on.
        port: port to listen on.
        port_setting: name of the variable that sets the port, for messages.
        workers: processes.
        threads: requests that one process may have under way.

    Raises:
        SettingsError: the port is taken, or the address is not one of this machine.
    """
    # Granian shares a port that another server listens on: each would get every other request.
    refuse_taken_port(host, port, port_setting)
    _raise_file_limit(workers * (CONNECTIONS_PER_THREAD + 1) * threads + SPARE_FILES)
    server = Granian(
        target,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        backpressure=CONNECTIONS_PER_THREAD * threads,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BYTES),
        log_level=LogLevels.warning,
        workers_kill_timeout=15,
        respawn_failed_workers=True,
    )
    with tempfile.TemporaryDirectory(prefix="liveinsight-metrics-") as folder:
        os.environ.setdefault(FOLDER_VARIABLE, folder)
        server.serve(target_loader=partial(_load, cores=Cores(workers)))


def at_exit(work: Callable[[], object]) -> None:
    """Call `work` when the process ends normally, under any server. It must be idempotent."""
    atexit.register(work)
    # Granian's workers are children of multiprocessing, which do not run the handlers of `atexit`.
    Finalize(None, work, exitpriority=0)


def replace_workers() -> None:
    """Let the server start new workers, and end the old ones once their requests are answered or time out.

    Granian and gunicorn do so when their parent process gets SIGHUP. Under another server the process ends normally.
    """
    if multiprocessing.parent_process() or "gunicorn.arbiter" in sys.modules:
        os.kill(os.getppid(), signal.SIGHUP)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def _load(target: str, *, cores: Cores) -> Any:
    """The application, as a worker process loads it."""
    # Until Granian's worker installs its own handlers, it has copies of those of its parent, which only set a flag that
    # the worker never reads: a worker that is stopped while it loads would have to be killed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    pinned = cores.claim() is not None
    watch = partial(_watch, os.getppid(), cores, pinned=pinned)
    threading.Thread(target=watch, name="parent", daemon=True).start()
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _watch(parent: int, cores: Cores, *, pinned: bool) -> None:
    """End the worker when its parent is killed: otherwise it would keep the port from the next server.

    A worker that replaces another starts before that one ends, and gets a core only then.
    """
    # The sentinel pipe of multiprocessing does not help: workers that were forked later hold it open, too.
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
        pinned = pinned or cores.claim() is not None
    os.kill(os.getpid(), signal.SIGTERM)


def _raise_file_limit(wanted: int) -> None:
    """Raise the limit of open files, which workers inherit. At the limit, accepting connections waits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
