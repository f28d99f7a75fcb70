"""CORS, the tracker file and health."""

from __future__ import annotations

import pytest

from liveinsight.errors import StreamUnavailable
from liveinsight.memory import MemoryStream
from liveinsight.testing import FakeClock

SHOP = {"Origin": "https://shop.example"}


def test_any_origin_may_send_by_default(service, view):
    """Answers are readable by every page, with the header that tells how long to wait."""
    answer = service.post(view(), headers=SHOP)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_allowed_origin_is_named_and_caches_are_told(make_service, view):
    """With a list of origins the answer differs by origin, in whatever case it is written."""
    service = make_service(allowed_origins="https://shop.example https://b.example")
    answer = service.post(view(), headers=SHOP)
    assert answer.status_code == 202
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (SHOP["Origin"], "Origin")
    assert service.post(view()).status_code == 202
    assert service.post(view(), headers={"Origin": "https://SHOP.example"}).status_code == 202


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.example", "https://shop.example.evil"])
def test_other_origins_are_refused_in_a_way_their_page_can_read(make_service, view, origin):
    """403 with a reason; without the header the tracker would take it for an outage and try for ever."""
    service = make_service(allowed_origins="https://shop.example")
    answer = service.post(view(), headers={"Origin": origin})
    assert (answer.status_code, answer.json["error"]["reason"]) == (403, "origin_not_allowed")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert service.events() == []
    preflight = service.client.options("/collect", headers={"Origin": origin})
    assert preflight.status_code == 403


@pytest.mark.parametrize("path", ["/collect", "/collect/"])
def test_preflight_is_answered(service, path):
    """204 with methods, headers and how long to remember them."""
    answer = service.client.options(path, headers={**SHOP, "Access-Control-Request-Method": "POST"})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) >= 3600


def test_no_path_is_answered_with_a_redirect(service, view):
    """A beacon that is redirected is lost."""
    assert service.client.post("/collect//", json=view()).status_code == 404


def test_errors_carry_cors_headers_too(service, view):
    """A page must be able to read the reason, and Retry-After on 503."""
    service.stream.down = True
    for answer in (service.post(b"{", headers=SHOP), service.post(view(), headers=SHOP)):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_tracker_is_served_with_type_and_cache(service):
    """One hour of cache, an ETag that is honoured, and a script's content type."""
    answer = service.client.get("/tracker.js")
    assert (answer.status_code, answer.data) == (200, b"/* tracker */")
    assert answer.mimetype == "text/javascript"
    assert answer.mimetype_params == {"charset": "utf-8"}
    assert answer.cache_control.max_age == 3600
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = service.client.get("/tracker.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert service.client.head("/tracker.js").status_code == 200


def test_a_missing_tracker_file_is_404(service, tmp_path):
    """An installation without the browser script says so."""
    (tmp_path / "liveinsight.js").unlink()
    answer = service.client.get("/tracker.js")
    assert (answer.status_code, answer.json["error"]["reason"]) == (404, "not_found")


def test_health_is_liveness_and_readiness_is_the_stream(make_service, clock):
    """Alive whatever happens; ready while the stream answers, asked at most every five seconds."""

    class Flaky(MemoryStream):
        asked = 0
        broken = False

        def incarnation(self) -> int:
            self.asked += 1
            if self.broken:
                raise StreamUnavailable("down")
            return 1

    stream = Flaky(FakeClock())
    client = make_service(stream=stream).client
    assert client.get("/readyz").status_code == 200
    stream.broken = True
    assert client.get("/readyz").status_code == 200
    assert stream.asked == 1
    clock.advance(seconds=5)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "stream_unavailable")
    assert client.get("/healthz").status_code == 200
    stream.broken = False
    clock.advance(seconds=5)
    assert client.get("/readyz").status_code == 200
