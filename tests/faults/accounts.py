"""The account at the end: what was sent, what is on the stream, and what the API answers."""

from __future__ import annotations

from collections import Counter

from tests.faults.load import Sent
from tests.faults.services import Services, eventually


def assert_counted_once(services: Services, sent: Sent) -> None:
    """The stream has all that was acknowledged and nothing that was not sent; the API has each of its events once."""
    found = services.on_stream()
    distinct = set(found)
    print(f"{len(distinct)} events on the stream, {sum(found.values()) - len(distinct)} of them repeated")
    assert sent.acknowledged <= distinct
    assert distinct <= sent.acknowledged | sent.given_up
    expected = Counter(page for _, page in distinct) + Counter(total=len(distinct))

    def tell() -> str:
        counted = services.counted()
        return f"too many: {counted - expected}, too few: {expected - counted}\n{services.tell()}"

    eventually(lambda: services.counted() == expected, 60, tell)
    services.verify()
    assert services.drain("worker") == 0
    assert services.counted() == expected
