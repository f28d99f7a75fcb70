"""The pipeline without HTTP, as a log importer calls it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from ingest.contract.reasons import Reason
from ingest.delivery.group_commit import GroupCommit
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.parsing import payload_from
from ingest.pipeline.pipeline import Pipeline
from liveinsight.model.errors import InvalidPayload
from liveinsight.model.events import decode_record
from liveinsight.sites.site import plain_sites
from liveinsight.testing.builders import NOON, FakeClock
from liveinsight.testing.memory_stream import MemoryStream

MAY_2015 = 1_431_861_905_000


def test_old_lines_of_a_log_take_the_same_path() -> None:
    """Years-old events, a salt of the caller's own, and client facts per event."""
    stream = MemoryStream(FakeClock())
    pipeline = Pipeline(
        lambda: plain_sites({"blog": ZoneInfo("UTC")}), GroupCommit(stream), lambda occurred, received: b"import",
        policy=Policy(max_age_ms=None, drop_bots=False),
    )  # fmt: skip
    line = {"event_type": "page_view", "page_url": "/post/?q=1", "timestamp": MAY_2015, "referrer": "https://t.co/x"}
    outcome = pipeline.collect_each(
        (payload_from(line | {"id": str(number)}), Context(NOON, address, "Googlebot/2.1"))
        for number, address in enumerate(["192.0.2.1", "192.0.2.2", "192.0.2.1"])
    )
    assert [one.id for one in outcome.accepted] == ["0", "1", "2"]
    events = [event for record in stream.records() for event in decode_record(record.data)]
    assert len({event.visitor for event in events}) == 2
    assert {(e.occurred_at, e.received_at, e.day, e.recent, e.page, e.source) for e in events} == {
        (MAY_2015, NOON, 20150517, False, "/post", "X")
    }


def test_bots_in_a_log_can_be_left_out() -> None:
    """The same switch as for live traffic."""
    pipeline = Pipeline(
        lambda: plain_sites({"blog": ZoneInfo("UTC")}), GroupCommit(MemoryStream(FakeClock())), lambda *_: b"import"
    )
    payload = payload_from({"event_type": "page_view", "page_url": "/"})
    outcome = pipeline.collect_each([(payload, Context(NOON, "192.0.2.1", "Googlebot/2.1"))])
    assert [(one.index, one.reason) for one in outcome.dropped] == [(0, Reason.BOT)]


def test_fields_of_a_mapping_are_held_to_the_same_limits() -> None:
    """An importer's payload cannot be worse than a browser's."""
    with pytest.raises(InvalidPayload) as refusal:
        payload_from({"event_type": "x" * 51})
    assert (refusal.value.reason, refusal.value.field) == ("too_long", "event_type")


def test_a_context_does_not_show_the_address() -> None:
    """Whoever logs a context logs no address."""
    assert "192.0.2.1" not in repr(Context(NOON, "192.0.2.1"))
