"""`liveinsight ingest`: serve the ingest application."""

from __future__ import annotations

import argparse
import os
import sys

from liveinsight.serving import serve
from liveinsight.settings import Settings


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="liveinsight ingest",
        description="Take events from browsers (POST /collect), answer 2xx once Kinesis has them; serve /tracker.js.",
        epilog="Address, port and allowed origins come from LIVEINSIGHT_INGEST_HOST, LIVEINSIGHT_INGEST_PORT and "
        "LIVEINSIGHT_ALLOWED_ORIGINS. Health: /healthz (alive), /readyz (the stream answers).",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--threads", type=int, default=32, help="requests under way per process (default 32)")
    options = parser.parse_args(arguments)
    settings = Settings.from_env(os.environ)
    serve(
        "ingest.wsgi:app",
        settings.ingest_host,
        settings.ingest_port,
        workers=options.workers,
        threads=options.threads,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
