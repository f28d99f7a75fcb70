"""The Flask application, without what ingest has no use for.

Flask finds out the host that each request is for, as hosts may choose routes. Ours do not, and that would be a tenth of
what a request costs.
"""

from __future__ import annotations

from flask import Flask, Request
from werkzeug.routing import MapAdapter


class Application(Flask):
    """A Flask application whose routes depend on path and method only. None of them may end with a redirect."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return super().create_url_adapter(request)
        return MapAdapter(
            self.url_map,
            server_name="",
            script_name="/",
            subdomain="",
            url_scheme="http",
            path_info=request.path,
            default_method=request.method,
        )
