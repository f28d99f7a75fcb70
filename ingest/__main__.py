"""`liveinsight ingest`: serve the ingest application."""

from __future__ import annotations

import argparse
import os
import sys

from liveinsight.runtime.wsgi_server import serve
from liveinsight.settings import Settings

SPARE_THREADS = 16
"""Threads that no waiting request may take: they say 503 when the queue is full, and answer health checks."""


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="liveinsight ingest",
        description="Take events from browsers (POST /collect), answer 2xx once Kinesis has them; serve /tracker.js. "
        "SIGTERM answers the requests under way, then ends.",
        epilog="Address and port come from LIVEINSIGHT_INGEST_HOST and LIVEINSIGHT_INGEST_PORT. /healthz: alive; "
        "/readyz: the stream takes records and the queue is not full; /metrics: for Prometheus, summed over all "
        "processes. Under gunicorn: PROMETHEUS_MULTIPROC_DIR=<an empty folder> gunicorn --worker-class gthread "
        "--workers 2 --threads 256 ingest.wsgi:app",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes (default %(default)s); where there are as many as cores, each keeps to one",
    )
    parser.add_argument("--threads", type=int, default=256, help="requests under way per process (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.threads <= SPARE_THREADS:
        parser.error(f"--threads: use more than {SPARE_THREADS}")
    settings = Settings.from_env(os.environ)
    # Worker processes read the environment, not our command line.
    os.environ["LIVEINSIGHT_QUEUE_REQUESTS"] = str(min(settings.queue_requests, options.threads - SPARE_THREADS))
    serve(
        "ingest.wsgi:app", settings.ingest_host, settings.ingest_port, workers=options.workers, threads=options.threads
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
