"""The dashboard's files. Only listed kinds of files are served, and of installed packages only uPlot's build.

In: a path below /assets. Out: the file with an ETag. Browsers revalidate it every time, so a new release shows at once
and an unchanged file costs a 304.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join

from liveinsight.runtime.openapi import Parameter

CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
VENDOR = PurePosixPath("node_modules/uplot/dist")
_VENDOR_TYPES = {suffix: CONTENT_TYPES[suffix] for suffix in (".js", ".css")}


@dataclass(frozen=True)
class AssetRoute:
    """A route of files, for the app and for the OpenAPI document."""

    path: str
    rule: str
    summary: str
    content_types: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()


_PATH = Parameter("path", {"type": "string"}, "a file of the dashboard", required=True, in_path=True)
_FILE = Parameter("file", {"type": "string"}, "a file of uPlot's build", required=True, in_path=True)

INDEX = AssetRoute("/", "/", "The dashboard", ("text/html",))
FILES = AssetRoute(
    "/assets/{path}", "/assets/<path:path>", "A file of the dashboard", tuple(CONTENT_TYPES.values()), (_PATH,)
)
VENDOR_FILES = AssetRoute(
    "/assets/vendor/{file}",
    "/assets/vendor/<file>",
    "A file of the chart library",
    tuple(_VENDOR_TYPES.values()),
    (_FILE,),
)
ROUTES = (INDEX, FILES, VENDOR_FILES)


def serve_dashboard(app: Flask, directory: Path) -> None:
    """Register the dashboard's routes."""
    folder = directory.resolve()

    def index() -> Response:
        return _file(folder, "index.html", CONTENT_TYPES)

    def files(path: str) -> Response:
        if any(part.startswith(".") or part == "node_modules" for part in path.split("/")):
            raise NotFound
        return _file(folder, path, CONTENT_TYPES)

    def vendor(file: str) -> Response:
        return _file(folder / VENDOR, file, _VENDOR_TYPES)

    for route, view in ((INDEX, index), (FILES, files), (VENDOR_FILES, vendor)):
        app.add_url_rule(route.rule, endpoint=route.path, view_func=view, methods=["GET"])


def _file(folder: Path, path: str, content_types: dict[str, str]) -> Response:
    content_type = content_types.get(PurePosixPath(path).suffix)
    joined = safe_join(str(folder), path)
    if content_type is None or joined is None:
        raise NotFound
    try:
        # The files are small. The tag is a hash of the content, not the time of installation.
        content = Path(joined).read_bytes()
    except (OSError, ValueError):
        # No such file, a folder, or an invalid file name.
        raise NotFound from None
    response = Response(content, content_type=f"{content_type}; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(hashlib.blake2b(content, digest_size=12).hexdigest())
    response.make_conditional(request)
    return response
