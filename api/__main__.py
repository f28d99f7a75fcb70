"""`liveinsight api`: serve the read API and the dashboard."""

from __future__ import annotations

import argparse
import os
import sys

from liveinsight.runtime.wsgi_server import serve
from liveinsight.settings import Settings


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="liveinsight api",
        description="Serve the read API and, at /, the dashboard. Reads precomputed items only; never scans.",
        epilog="Address and port come from LIVEINSIGHT_API_HOST and LIVEINSIGHT_API_PORT. The API is described in "
        "docs/api.md and at /v1/openapi.json.",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--threads", type=int, default=16, help="requests under way per process (default 16)")
    options = parser.parse_args(arguments)
    settings = Settings.from_env(os.environ)
    serve("api.wsgi:app", settings.api_host, settings.api_port, workers=options.workers, threads=options.threads)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
