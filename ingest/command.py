"""`liveinsight ingest`: serve the ingest application."""

from __future__ import annotations

import os

import click

from liveinsight.runtime.wsgi_server import serve
from liveinsight.settings import Settings
from liveinsight.wiring import open_backend

SPARE_THREADS = 16
"""Threads that waiting requests never take: they answer 503 when the queue is full, and health checks."""


@click.command()
@click.option(
    "--workers", type=click.IntRange(1), default=1, help="processes; with one per core, each keeps to its core"
)
@click.option("--threads", type=click.IntRange(SPARE_THREADS + 1), default=256, help="concurrent requests per process")
def command(workers: int, threads: int) -> None:
    """Accept events from browsers at POST /collect, and serve /tracker.js.

    A request is answered 2xx when Kinesis has its events. SIGTERM answers open requests, then ends. Address and port
    come from LIVEINSIGHT_INGEST_HOST and LIVEINSIGHT_INGEST_PORT.

    \b
    /healthz   the process runs
    /readyz    the stream accepts records and the queue has room
    /metrics   Prometheus metrics of all processes

    \b
    Examples:
      liveinsight ingest --workers 2
      PROMETHEUS_MULTIPROC_DIR=<an empty folder> gunicorn --worker-class gthread \\
        --workers 2 --threads 256 ingest.wsgi:app
    """
    settings = Settings.from_env(os.environ)
    # Worker processes read the environment, not our command line.
    os.environ["LIVEINSIGHT_QUEUE_REQUESTS"] = str(min(settings.queue_requests, threads - SPARE_THREADS))
    open_backend(settings).check_version()
    serve(
        "ingest.wsgi:app",
        settings.ingest_host,
        settings.ingest_port,
        port_setting="LIVEINSIGHT_INGEST_PORT",
        workers=workers,
        threads=threads,
    )
