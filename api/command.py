"""`liveinsight api`: serve the read API and the dashboard."""

from __future__ import annotations

import os

import click

from liveinsight.runtime.wsgi_server import serve
from liveinsight.settings import Settings
from liveinsight.wiring import open_backend


@click.command()
@click.option("--workers", type=click.IntRange(1), default=1, help="processes")
@click.option("--threads", type=click.IntRange(1), default=16, help="concurrent requests per process")
def command(workers: int, threads: int) -> None:
    """Serve the read API and, at /, the dashboard. Requests read precomputed counters only.

    Address and port come from LIVEINSIGHT_API_HOST and LIVEINSIGHT_API_PORT. The API is described in docs/api.md and at
    /v1/openapi.json.

    \b
    Example:
      LIVEINSIGHT_API_PORT=8080 liveinsight api --workers 2
    """
    settings = Settings.from_env(os.environ)
    open_backend(settings).check_version()
    serve(
        "api.wsgi:app",
        settings.api_host,
        settings.api_port,
        port_setting="LIVEINSIGHT_API_PORT",
        workers=workers,
        threads=threads,
    )
