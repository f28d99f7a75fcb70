"""The demo site: the static pages of tracker/demo, with the tracker pointed at our ingest."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DEMO_DIR = Path(__file__).resolve().parent.parent.parent / "tracker" / "demo"


class _Pages(SimpleHTTPRequestHandler):
    """Serves files, with the placeholders in HTML pages filled in."""

    def __init__(self, *args: object, replacements: dict[str, str], **kwargs: object) -> None:
        self._replacements = replacements
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        page = path / "index.html" if path.is_dir() else path
        if page.suffix != ".html" or not page.is_file():
            super().do_GET()
            return
        text = page.read_text(encoding="utf-8")
        for placeholder, value in self._replacements.items():
            text = text.replace(placeholder, value)
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the line would hold the client's address."""


class DemoSite:
    """The demo site on a loopback port, served from a thread."""

    def __init__(self, port: int, *, ingest_url: str, dashboard_url: str) -> None:
        replacements = {"{{INGEST_URL}}": ingest_url, "{{DASHBOARD_URL}}": dashboard_url}
        handler = partial(_Pages, replacements=replacements, directory=str(DEMO_DIR))
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-site", daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
