"""Events of servers: with an API key, and with the visitor's address and user agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from liveinsight.model.events import decode_record, partition_key
from liveinsight.testing.builders import FakeClock
from tests.ingest.conftest import Payload, Service

ADDRESS = "203.0.113.9"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    made = make_service(sites="default=UTC shop=Europe/Berlin")
    made.give_keys(default="default-key", shop="shop-key")
    return made


@pytest.fixture
def send(service: Service) -> Callable[..., TestResponse]:
    def post(body: Any, key: str | None = "default-key", **headers: str) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json", "User-Agent": "python-requests/2.32", **headers}
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        return service.client.post("/v1/events", data=data, headers=named, environ_base={"REMOTE_ADDR": "192.0.2.200"})

    return post


def test_a_servers_event_counts_for_its_visitor(
    service: Service, send: Callable[..., TestResponse], clock: FakeClock
) -> None:
    """Time, ids and user agent are the payload's; nothing of the server's own request is in the event."""
    payload = {
        "event_type": "conversion", "conversion_type": "renewal", "user_id": "u1", "session_id": "s1", "id": "e1",
        "timestamp": clock() - 3_600_000, "user_agent": IPHONE, "page_url": "https://shop.example/renew",
        "revenue": {"amount": 12.5, "currency": "EUR"},
    }  # fmt: skip
    answer = send(payload, DNT="1")
    assert answer.status_code == 202
    assert (answer.json["accepted"], answer.json["refused"]) == (1, 0)
    (status,) = answer.json["events"]
    assert (status["index"], status["status"], status["id"]) == (0, 202, "e1")
    (event,) = service.events()
    assert (event.user_id, event.session_id, event.occurred_at) == ("u1", "s1", clock() - 3_600_000)
    assert (event.browser, event.os, event.device, event.revenue) == ("Safari", "iOS", "Mobile", 1250)


def test_a_servers_event_joins_the_browsers_visitor(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """The same user id is the same visitor, whoever tells of it."""
    browser = service.only_event(view(user_id="u1"))
    send(view(user_id="u1", id="x"))
    send(view(user_id=None, visitor_id="u1", id="y"))
    send(view(user_id="u1", visitor_id="other", id="z"))
    assert {event.visitor for event in service.events()} == {browser.visitor}


def test_the_given_address_identifies_the_visitor(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Without an id: the same visitor as if the browser had come by itself, in whatever way the address is written."""
    browser = service.only_event(view(user_id=None, session_id=None, user_agent=IPHONE), address="2001:db8::1",
                                 headers={"User-Agent": IPHONE})  # fmt: skip
    for number, address in enumerate(["2001:db8::1", "2001:0DB8:0:0::1", ADDRESS, None]):
        payload = view(id=str(number), user_id=None, session_id=None, user_agent=IPHONE, client_address=address)
        assert send(payload).status_code == 202
    same, again, other, nobody = (event.visitor for event in service.events()[1:])
    assert same == again == browser.visitor
    assert len({same, other, nobody}) == 3


def test_bots_are_not_dropped(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """A server knows whom it tells of; the device says what it is."""
    assert send(view(user_agent=GOOGLEBOT)).json["accepted"] == 1
    assert service.events()[0].device == "Bot"


def test_a_visitor_who_opted_out_is_anonymous(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """A server passes the wish on with the event."""
    send(view(anonymous=True))
    assert (service.events()[0].user_id, service.events()[0].session_id) == ("", "")


@pytest.mark.parametrize("address", ["nonsense", "203.0.113.999", "1", "203.0.113.9/24", "x" * 64])
def test_an_invalid_address_is_refused_and_not_repeated(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload], address: str
) -> None:
    """The reason names the field; the text is nowhere in the answer."""
    answer = send(view(client_address=address))
    (refused,) = answer.json["error"]["events"]
    assert (answer.status_code, refused["reason"], refused["field"]) == (400, "invalid_address", "client_address")
    assert f'"{address}"' not in answer.text
    assert service.events() == []


def test_without_a_key_nothing_is_read(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """401 says what is missing; garbage is not even looked at."""
    for answer in (send(view(), key=None), send(b"{", key=None), send(view(), key=None, Authorization="Basic eDp5")):
        assert (answer.status_code, answer.json["error"]["reason"]) == (401, "missing_key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert service.events() == []


def test_a_key_is_valid_for_its_site_only(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Each event is judged by its site's keys: 403 for another's, 207 where some are good."""
    answer = send(view(), key="wrong")
    assert (answer.status_code, answer.json["error"]["reason"]) == (403, "key_not_allowed")
    assert send(view(site="shop")).status_code == 403
    answer = send([view(id="a"), view(site="shop"), view(site="nowhere")])
    assert answer.status_code == 207
    assert [(one["status"], one.get("reason")) for one in answer.json["events"]] == [
        (202, None), (403, "key_not_allowed"), (404, "unknown_site"),
    ]  # fmt: skip
    assert send(view(site="shop"), key="shop-key").status_code == 202
    assert [event.site for event in service.events()] == ["default", "shop"]


def test_pages_of_browsers_cannot_use_it(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """No answer has a CORS header, and there is no preflight: a key in a page is no secret."""
    preflight = service.client.options("/v1/events", headers={"Origin": "https://shop.example"})
    assert preflight.status_code == 405
    for answer in (send(view(), Origin="https://shop.example"), send(view(), key=None), preflight):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_the_limits_are_those_of_collect(
    send: Callable[..., TestResponse], view: Callable[..., Payload], clock: FakeClock
) -> None:
    """A hundred events, 256 KB, 24 hours."""
    assert send([view(id=str(number)) for number in range(100)]).json["accepted"] == 100
    assert send([view()] * 101).json["error"]["reason"] == "too_many_events"
    assert send(b" " * 300_000).json["error"]["reason"] == "too_large"
    assert send(view(timestamp=clock() - 86_400_001)).json["error"]["reason"] == "too_old"
    assert send(b"\x1f\x8b", **{"Content-Encoding": "gzip"}).json["error"]["reason"] == "unsupported_encoding"


def test_an_outage_promises_nothing(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """503 and Retry-After; the same ids may be sent again."""
    service.stream.down = True
    answer = send(view())
    assert (answer.status_code, answer.json["error"]["reason"]) == (503, "stream_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_many_visitors_in_one_request_keep_their_order_and_their_places(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """Events of one virtual bucket share a record; receipts differ; large ones are split and lose none."""
    events = [view(id=str(number), user_id=f"u{number % 7}", title=str(number)) for number in range(100)]
    answer = send(events)
    receipts = [one["receipt"] for one in answer.json["events"]]
    assert len(set(receipts)) == 100
    buckets = {partition_key(event.visitor) for event in service.events()}
    assert len(service.records()) == len(buckets) > 3
    by_visitor: dict[int, list[int]] = {}
    for event in service.events():
        by_visitor.setdefault(event.visitor, []).append(int(event.title))
    assert all(titles == sorted(titles) for titles in by_visitor.values())
    big = {str(n): "x" * 2000 for n in range(25)}
    assert send([view(id=f"b{n}", props=big) for n in range(4)]).status_code == 202
    records = service.records()[len(buckets) :]
    assert sum(len(decode_record(record)) for record in records) == 4


def test_rates_are_the_visitors_and_the_sites(
    service: Service, send: Callable[..., TestResponse], view: Callable[..., Payload]
) -> None:
    """The rate per address holds for addresses that are given; a server without any is not one busy visitor."""
    service.edit_site(address_rate=3)
    statuses = [send(view(id=str(number))).status_code for number in range(10)]
    assert statuses == [202] * 10
    statuses = [send(view(id=f"a{number}", client_address=ADDRESS)).status_code for number in range(10)]
    assert statuses == [202] * 3 + [429] * 7
    service.clock.advance(minutes=10)
    service.edit_site(address_rate=0, site_rate=4)
    answer = [send(view(id=f"s{number}")) for number in range(10)][-1]
    assert (answer.status_code, answer.json["error"]["reason"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1
