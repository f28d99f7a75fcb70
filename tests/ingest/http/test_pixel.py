"""Pages without scripts: an event as an image. The answer is always an image."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from werkzeug.test import TestResponse

from liveinsight.model.errors import StoreUnavailable
from tests.ingest.conftest import Service

PAGE = "https://shop.example/a/b?token=secret#x"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


def ask(service: Service, query: str = "", **headers: str) -> TestResponse:
    named = {"User-Agent": CHROME, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return service.client.get(f"/collect.gif{query}", headers=named)


def assert_image(answer: TestResponse) -> None:
    """A transparent GIF of one pixel that nobody keeps."""
    assert answer.data[:6] == b"GIF89a"
    assert struct.unpack("<HH", answer.data[6:10]) == (1, 1)
    assert answer.data[-1:] == b";"
    assert answer.mimetype == "image/gif"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_the_referer_is_the_page_when_no_url_is_given(service: Service) -> None:
    """An <img> in a <noscript> counts a page view of the page that it stands on."""
    answer = ask(service, "?site=default", Referer=PAGE, Accept_Language="fr-CA")
    assert_image(answer)
    assert (answer.status_code, answer.headers.get("X-LiveInsight-Reason")) == (200, None)
    (event,) = service.events()
    assert (event.type, event.page, event.page_url) == ("page_view", "/a/b", "https://shop.example/a/b")
    assert (event.browser, event.language, event.site) == ("Chrome", "fr", "default")


def test_parameters_override_the_defaults(service: Service) -> None:
    """URL, referrer and type are taken from the query; the URL goes before the Referer header."""
    query = "?url=https%3A%2F%2Fshop.example%2Fx&referrer=https%3A%2F%2Fwww.google.com%2F&event_type=newsletter&other=1"
    assert ask(service, query, Referer=PAGE).status_code == 200
    (event,) = service.events()
    assert (event.type, event.page, event.source) == ("newsletter", "/x", "Google")


def test_each_request_is_an_event_and_the_same_browser_one_visitor(service: Service) -> None:
    """An image is asked for again whenever the page is seen; without ids the day's hash tells visitors apart."""
    for _ in range(2):
        ask(service, Referer=PAGE)
        service.clock.advance(seconds=1)
    first, second = service.events()
    assert first.visitor == second.visitor
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    ("query", "headers", "status", "reason"),
    [
        ("", {}, 400, "missing_field"),
        ("?url=javascript:alert(1)", {}, 400, "invalid_url"),
        ("?url=" + "x" * 3000, {}, 400, "too_long"),
        ("?url=%ff%fe", {}, 400, "invalid_url"),
        ("?site=nowhere&url=/x", {}, 404, "unknown_site"),
        ("?event_type=$ledger&url=/x", {}, 400, "reserved_name"),
        ("?url=/x", {"User-Agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}, 200, "bot"),
    ],
)
def test_a_refusal_is_an_image_with_its_reason(
    service: Service, query: str, headers: dict[str, Any], status: int, reason: str
) -> None:
    """A browser shows nothing broken; who looks at the answer finds the reason; the ledger counts it."""
    answer = service.client.get("/collect.gif" + query, headers={"User-Agent": CHROME, **headers})
    assert_image(answer)
    assert (answer.status_code, answer.headers["X-LiveInsight-Reason"]) == (status, reason)
    assert service.events() == []
    service.ledger.send()
    assert service.events()[0].props == {reason: 1}


def test_an_outage_is_an_image_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 while the stream or the store is away, and nothing is promised."""
    service.stream.down = True
    answer = ask(service, Referer=PAGE)
    assert_image(answer)
    assert (answer.status_code, answer.headers["X-LiveInsight-Reason"]) == (503, "stream_unavailable")
    service.stream.down = False

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    service.clock.advance(hours=24)
    monkeypatch.setattr(service.store, "salt_of_day", away)
    answer = ask(service, Referer=PAGE)
    assert_image(answer)
    assert (answer.status_code, answer.headers["X-LiveInsight-Reason"]) == (503, "store_unavailable")


def test_a_head_request_for_the_image_counts_nothing(service: Service) -> None:
    """HEAD is no look at a page."""
    answer = service.client.head("/collect.gif?url=/x", headers={"User-Agent": CHROME})
    assert (answer.status_code, answer.mimetype) == (200, "image/gif")
    assert service.events() == []


def test_do_not_track_holds_for_images_too(service: Service) -> None:
    """The same rules as for events by script."""
    ask(service, "?url=/x", DNT="1")
    assert service.events()[0].user_id == ""
