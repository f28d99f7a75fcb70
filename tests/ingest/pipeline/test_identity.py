"""Who a visitor is, what forgets them, and that the address is nowhere."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Callable

import pytest

from ingest.pipeline.identity import DailySalts
from liveinsight.testing.builders import NOON
from liveinsight.testing.memory_store import MemoryStore
from tests.ingest.conftest import Payload, Service

DAY = 86_400_000
SECOND_CHROME = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"


def test_a_user_id_is_the_visitor_wherever_it_comes_from(service: Service, view: Callable[..., Payload]) -> None:
    """Address and browser do not matter for those who say who they are; the site does."""
    first = service.only_event(view(id="1"), address="198.51.100.1")
    second = service.only_event(view(id="2"), address="198.51.100.2", headers={"User-Agent": SECOND_CHROME})
    assert first.visitor == second.visitor
    assert service.only_event(view(id="3", user_id="u_other")).visitor != first.visitor
    assert service.store.salts == {}


def test_a_visitor_without_an_id_is_the_same_within_a_day_only(service: Service, view: Callable[..., Payload]) -> None:
    """Same address and browser: one visitor until midnight UTC, another one after it."""
    anonymous = {"user_id": None, "session_id": None}
    first = service.only_event(view(id="1", **anonymous))
    service.clock.advance(hours=11)
    assert service.only_event(view(id="2", **anonymous)).visitor == first.visitor
    service.clock.advance(hours=2)
    assert service.only_event(view(id="3", **anonymous)).visitor != first.visitor
    assert len(service.store.salts) == 2


def test_a_visitor_without_an_id_differs_by_address_browser_and_site(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """All three are part of the hash."""
    service = make_service(sites="a b")
    visitors = {
        service.only_event(view(id="1", user_id=None)).visitor,
        service.only_event(view(id="2", user_id=None), address="198.51.100.2").visitor,
        service.only_event(view(id="3", user_id=None), headers={"User-Agent": SECOND_CHROME}).visitor,
        service.only_event(view(id="4", user_id=None, site="b")).visitor,
    }
    assert len(visitors) == 4


def test_an_event_sent_again_after_midnight_keeps_its_visitor(service: Service, view: Callable[..., Payload]) -> None:
    """The day the event happened on decides, or the repeat would count as a second event."""
    service.clock.now = NOON + 12 * 3_600_000 - 1000
    payload = view(id="1", user_id=None)
    first = service.only_event({**payload, "sent_at": service.clock()})
    service.clock.advance(hours=3)
    again = service.only_event({**payload, "sent_at": service.clock()})
    assert (first.visitor, first.event_id) == (again.visitor, again.event_id)


def test_processes_share_the_salt_and_stores_do_not(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """Two processes on one store see one visitor; without the salt nobody can repeat the hash."""
    store = MemoryStore()
    one, two, stranger = make_service(store=store), make_service(store=store), make_service()
    payload = view(user_id=None)
    assert one.only_event(payload).visitor == two.only_event(payload).visitor
    assert one.only_event(payload).visitor != stranger.only_event(payload).visitor


def test_salts_expire_48_hours_after_their_day_began() -> None:
    """The store is told when to destroy a salt, and the process forgets it as soon as no event can need it."""
    asked: list[tuple[int, int]] = []

    class Store:
        def salt_of_day(self, day: int, candidate: bytes, expires_at: int) -> bytes:
            asked.append((day, expires_at))
            return candidate

    fresh = iter([b"one", b"two", b"three", b"four", b"five"])
    salts = DailySalts(Store(), lambda: next(fresh))
    midnight = NOON // DAY * DAY
    assert salts(NOON, NOON) == b"one"
    assert salts(midnight, NOON) == b"one"
    assert asked[0][1] == midnight // 1000 + 48 * 3600
    assert salts(NOON + DAY, NOON + DAY) == b"two"
    assert salts(NOON, NOON + DAY) == b"one"
    assert salts(NOON + 2 * DAY, NOON + 2 * DAY) == b"three"
    # The first day is forgotten, and not kept again; the other two are.
    assert salts(NOON, NOON + 2 * DAY) == b"four"
    assert salts(NOON + DAY, NOON + 2 * DAY) == b"two"
    assert salts(NOON + 2 * DAY, NOON + 2 * DAY) == b"three"
    assert len(asked) == 4
    assert salts(NOON, NOON + 2 * DAY) == b"five"


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
def test_visitors_who_do_not_want_tracking_are_counted_without_ids(
    service: Service, view: Callable[..., Payload], header: str
) -> None:
    """The given ids are neither stored nor part of the visitor's hash."""
    wish = {header: "1"}
    first = service.only_event(view(id="1"), headers=wish)
    second = service.only_event(view(id="2", user_id="u_other", session_id="s_other"), headers=wish)
    assert (first.user_id, first.session_id) == ("", "")
    assert first.visitor == second.visitor
    named = service.only_event(view(id="3"), headers={header: "0"})
    assert (named.user_id, named.session_id) == ("u_abc", "s_abc")
    assert named.visitor != first.visitor


def test_a_forged_forwarded_header_changes_nothing(service: Service, view: Callable[..., Payload]) -> None:
    """Without trusted proxies the header is what anybody may write."""
    first = service.only_event(view(id="1", user_id=None))
    forged = service.only_event(view(id="2", user_id=None), headers={"X-Forwarded-For": "203.0.113.1"})
    assert first.visitor == forged.visitor


def test_behind_proxies_the_nth_address_from_the_right_counts(
    make_service: Callable[..., Service], view: Callable[..., Payload]
) -> None:
    """What the client itself wrote stands further left, and is ignored."""
    service = make_service(trusted_proxies="2")

    def visitor(number: int, forwarded: str) -> int:
        payload = view(id=str(number), user_id=None)
        return service.only_event(payload, address="10.0.0.1", headers={"X-Forwarded-For": forwarded}).visitor

    real = visitor(1, "198.51.100.7, 10.0.0.2")
    assert visitor(2, "203.0.113.1, 198.51.100.7, 10.0.0.2") == real
    assert visitor(3, "198.51.100.8, 10.0.0.2") != real


@pytest.mark.parametrize("address", ["203.0.113.77", "2001:db8:85a3::8a2e:370:7334"])
@pytest.mark.parametrize("proxies", ["0", "1"])
def test_the_address_is_nowhere(
    make_service: Callable[..., Service],
    view: Callable[..., Payload],
    caplog: pytest.LogCaptureFixture,
    address: str,
    proxies: str,
) -> None:
    """No record, answer, salt or log line holds it: not as text, not packed, not as a number."""
    caplog.set_level(logging.DEBUG)
    service = make_service(trusted_proxies=proxies, sites="default other")
    headers = {"X-Forwarded-For": address, "DNT": "1", "Accept-Language": "de"}
    answers = []
    bodies = [
        view(), view(user_id=None), view(site="nowhere"), [view(), 5], view(timestamp=1), {"events": []}, b"{", b"\xff",
        b"[" * 50_000, view(event_type="conversion", revenue={"amount": 1, "currency": "EUR"}),
    ]  # fmt: skip
    for body in bodies:
        answers.append(service.post(body, address=address, headers=headers))
        answers.append(service.post(body, address=address, headers={"X-Forwarded-For": address}))
        answers.append(service.post(body, address=address, headers={"User-Agent": "Googlebot/2.1"}))
        answers.append(service.post(body, address=address, headers={"Content-Type": "text/html"}))
    service.stream.down = True
    answers.append(service.post(view(), address=address))
    service.stream.down = False
    service.stream.put = None  # type: ignore[assignment,method-assign]
    answers.append(service.post(view(user_id=None), address=address))
    assert {answer.status_code for answer in answers} == {202, 207, 400, 404, 415, 500, 503}

    packed = ipaddress.ip_address(address).packed
    number = str(int(ipaddress.ip_address(address))).encode()
    places = {
        "records": b"\n".join(service.records()),
        "answers": b"\n".join(answer.data + str(answer.headers).encode() for answer in answers),
        "salts": b"\n".join(service.store.salts.values()) + json.dumps(list(service.store.salts)).encode(),
        "logs": "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records).encode()
        + caplog.text.encode(),
    }
    assert all(places.values())
    for name, content in places.items():
        for form in (address.encode(), packed, packed[::-1], packed.hex().encode(), number):
            assert form not in content, name
