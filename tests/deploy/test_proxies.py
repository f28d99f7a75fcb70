"""The proxies with TLS in `deploy/`: each request goes where it is answered, and nothing private goes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from ingest.contract.limits import MAX_BODY_BYTES
from ingest.http.endpoints import ENDPOINTS
from liveinsight.settings import SETTINGS

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
CADDY = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
FOR_THE_MACHINE = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
"""What ingest answers to its operator only."""
OF_THE_API = (
    "/",
    "/assets/dashboard.js",
    "/v1/sites",
    "/v1/sites/shop/totals",
    "/v1/openapi.json",
    "/v1/eventsx",
    "/collected",
)


def nginx_to_ingest(path: str) -> bool:
    (pattern,) = re.findall(r"location ~ (\S+) \{", NGINX)
    return re.search(pattern, path) is not None


def caddy_to_ingest(path: str) -> bool:
    (patterns,) = re.findall(r"@ingest path (.*)", CADDY)
    return any(fnmatchcase(path, pattern) for pattern in patterns.split())


@pytest.mark.parametrize("to_ingest", [nginx_to_ingest, caddy_to_ingest], ids=["nginx", "Caddy"])
def test_ingest_gets_its_requests(to_ingest: Callable[[str], bool]) -> None:
    """Whatever ingest answers to browsers and servers is sent to it, and the rest to the API."""
    paths = {endpoint.operation.path.replace("{id}", "an-id") for endpoint in ENDPOINTS} | {"/collect/"}
    assert {path for path in paths if to_ingest(path)} == paths - FOR_THE_MACHINE
    assert not [path for path in OF_THE_API if to_ingest(path)]


def port_of(name: str) -> str:
    (default,) = (setting.default for setting in SETTINGS if setting.variable == f"LIVEINSIGHT_{name}_PORT")
    return default


def test_nginx_keeps_to_the_settings() -> None:
    """It knows the default ports and the largest body, asks for a password, and hides the metrics."""
    ingest, api, metrics = re.findall(r"location [^{]*\{([^}]*)\}", NGINX)
    assert f"proxy_pass http://127.0.0.1:{port_of('INGEST')};" in ingest
    assert "access_log off;" in ingest
    assert f"proxy_pass http://127.0.0.1:{port_of('API')};" in api
    assert "auth_basic_user_file" in api
    assert "location = /metrics" in NGINX
    assert metrics.split() == ["return", "404;"]
    assert f"client_max_body_size {MAX_BODY_BYTES // 1024}k;" in NGINX
    assert "proxy_request_buffering off" not in NGINX


def test_caddy_keeps_to_the_settings() -> None:
    """So does Caddy, which gathers bodies only when it is told to."""
    assert (
        f"reverse_proxy 127.0.0.1:{port_of('INGEST')} {{\n\t\t\trequest_buffers {MAX_BODY_BYTES // 1024}KiB\n" in CADDY
    )
    assert re.search(r"basic_auth \{[^}]*\}\s*reverse_proxy 127\.0\.0\.1:" + port_of("API"), CADDY)
    assert re.search(r"handle /metrics \{\s*respond 404\s*\}", CADDY)
