"""The dashboard's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from liveinsight.settings import Settings
from liveinsight.testing.builders import FakeClock, MemoryStore

FILES = {
    "index.html": "<!doctype html><title>page</title>",
    "js/main.js": "export {};",
    "css/theme.css": "body {}",
    "favicon.svg": "<svg/>",
    "package.json": "{}",
    ".npmrc": "registry",
    ".hidden/secret.js": "secret",
    "node_modules/other/index.js": "other",
    "node_modules/uplot/dist/uPlot.esm.js": "export default 1;",
    "node_modules/uplot/dist/uPlot.min.css": ".uplot {}",
    "node_modules/uplot/dist/uPlot.d.ts": "types",
    "../outside.js": "outside",
}


@pytest.fixture
def pages(tmp_path: Path, settings: Settings) -> FlaskClient:
    """A client of an app whose dashboard is FILES."""
    folder = tmp_path / "dashboard"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return create_app(settings, MemoryStore(), FakeClock(), dashboard_dir=folder).test_client()


@pytest.mark.parametrize(
    ("path", "file", "content_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/assets/js/main.js", "js/main.js", "text/javascript; charset=utf-8"),
        ("/assets/css/theme.css", "css/theme.css", "text/css; charset=utf-8"),
        ("/assets/favicon.svg", "favicon.svg", "image/svg+xml; charset=utf-8"),
        ("/assets/vendor/uPlot.esm.js", "node_modules/uplot/dist/uPlot.esm.js", "text/javascript; charset=utf-8"),
        ("/assets/vendor/uPlot.min.css", "node_modules/uplot/dist/uPlot.min.css", "text/css; charset=utf-8"),
    ],
)
def test_a_file_is_served_with_its_type_and_asked_for_again_by_its_tag(
    pages: FlaskClient, path: str, file: str, content_type: str
) -> None:
    """A second request costs a 304."""
    response = pages.get(path)
    assert (response.status_code, response.text, response.headers["Content-Type"]) == (200, FILES[file], content_type)
    assert response.headers["Cache-Control"] == "no-cache"
    again = pages.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.text) == (304, "")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/package.json",
        "/assets/.npmrc",
        "/assets/.hidden/secret.js",
        "/assets/node_modules/other/index.js",
        "/assets/node_modules/uplot/dist/uPlot.esm.js",
        "/assets/js/../node_modules/other/index.js",
        "/assets/vendor/uPlot.d.ts",
        "/assets/vendor/..%2f..%2fother%2findex.js",
        "/assets/../../outside.js",
        "/assets/..%2foutside.js",
        "/assets/%2e%2e/outside.js",
        "/assets//etc/hosts.js",
        "/assets/js",
        "/assets/js/none.js",
        "/assets/a%00.js",
        "/assets/",
    ],
)
def test_nothing_else_is_served(pages: FlaskClient, path: str) -> None:
    """No other kinds of files, no hidden ones, no packages, nothing outside of the folder."""
    response = pages.get(path)
    assert (response.status_code, response.get_json()["error"]["reason"]) == (404, "not_found")


def test_without_a_dashboard_the_api_still_answers(tmp_path: Path, settings: Settings) -> None:
    """An installation may serve the page from elsewhere."""
    client = create_app(settings, MemoryStore(), FakeClock(), dashboard_dir=tmp_path / "none").test_client()
    assert client.get("/").status_code == 404
    assert client.get("/v1/sites").status_code == 200


def test_the_page_in_the_repository_and_what_it_links_to_is_served(client: FlaskClient) -> None:
    """Every address in index.html that is not a package's."""
    page = client.get("/").text
    links = [part.split('"')[0] for mark in ('href="assets/', 'src="assets/') for part in page.split(mark)[1:]]
    own = [link for link in links if not link.startswith("vendor/")]
    assert own
    assert {link: client.get(f"/assets/{link}").status_code for link in own} == dict.fromkeys(own, 200)
