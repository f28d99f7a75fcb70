"""Which events make a visit, what it looks like, and that the order of arrival does not matter."""

from __future__ import annotations

import random
from typing import Any

import pytest

from liveinsight.counting.sessions import MAX_SESSIONS, SESSION_GAP_MS, Session, VisitorState
from liveinsight.model.events import CLICK, HEARTBEAT, Event
from liveinsight.testing.builders import NOON, an_event

MINUTE = 60_000


def visits(*events: Event) -> list[Session]:
    state = VisitorState("default", 1, sessions=[], recent_ids=[])
    for event in events:
        state.apply(event)
    return sorted(state.sessions, key=lambda session: session.started_at)


def at(minutes: float, **changes: Any) -> Event:
    return an_event(at=NOON + round(minutes * MINUTE), **changes)


def test_gap_decides() -> None:
    """Exactly the gap still continues a visit; a millisecond more starts another.

    minute   0 ........ 30          0 ........ 30:00.001
             a          b           a          b
    visit    [----------]           [-]        [-]
    """
    assert len(visits(at(0), at(30))) == 1
    assert len(visits(at(0), an_event(at=NOON + SESSION_GAP_MS + 1))) == 2


def test_every_event_prolongs_a_visit() -> None:
    """Heartbeats keep a visit going, however long it takes.

    minute   0 .... 25 .... 50 .... 75
             view   beat    beat    view
    visit    [----------------------]
    """
    (visit,) = visits(at(0), at(25, type=HEARTBEAT), at(50, type=HEARTBEAT), at(75))
    assert visit.duration_ms == 75 * MINUTE


def test_bounce_is_one_view_and_no_interest() -> None:
    """One page view is a bounce, a heartbeat does not change that, a click or a second view does."""
    assert [v.bounced for v in visits(at(0))] == [True]
    assert [v.bounced for v in visits(at(0), at(1, type=HEARTBEAT))] == [True]
    assert [v.bounced for v in visits(at(0), at(1, type=CLICK))] == [False]
    assert [v.bounced for v in visits(at(0, type=CLICK), at(1))] == [False]
    assert [v.bounced for v in visits(at(0), at(1))] == [False]
    assert [v.bounced for v in visits(at(0, type=HEARTBEAT))] == [False]


def test_entry_and_exit_follow_the_times_of_the_events() -> None:
    """The first and the last page by time are entry and exit, also when they arrive out of order.

    minute   0     1     2
    arrives  3rd   1st   2nd
    page     /a    /b    /c
    """
    (visit,) = visits(at(1, page="/b"), at(2, page="/c"), at(0, page="/a", source="Google"))
    assert (visit.entry_page, visit.exit_page, visit.started_at) == ("/a", "/c", NOON)
    assert visit.attributes["source"] == "Google"


def test_pages_at_the_same_moment_keep_their_order_of_arrival() -> None:
    """Of two views in the same millisecond the first to arrive is the entry, the last the exit."""
    (visit,) = visits(at(0, page="/a"), at(0, page="/b"))
    assert (visit.entry_page, visit.exit_page) == ("/a", "/b")


def test_given_session_ids_keep_tabs_apart() -> None:
    """Two tabs with ids of their own are two visits at the same time; events without an id join neither."""
    tabs = visits(at(0, session_id="t1"), at(1, session_id="t2"), at(2, session_id="t1"), at(3))
    assert [(tab.id, tab.measures["pageviews"]) for tab in tabs[:2]] == [("t1", 2), ("t2", 1)]
    assert not tabs[2].given_id


def test_given_session_id_is_cut_by_the_gap_too() -> None:
    """A tab that was left open for hours starts a new visit under its old id."""
    assert [visit.id for visit in visits(at(0, session_id="t"), at(120, session_id="t"))] == ["t", "t"]


def test_midnight_does_not_cut_a_visit() -> None:
    """A visit over midnight is one visit, of the day it began on."""
    midnight = NOON + 12 * 60 * MINUTE
    (visit,) = visits(an_event(at=midnight - MINUTE), an_event(at=midnight + MINUTE))
    assert visit.day == an_event(at=midnight - MINUTE).day


def test_title_stays_with_its_page() -> None:
    """A click without a title leaves the page's title, a view of another page without one takes it away."""
    (visit,) = visits(at(0, title="Home"), at(1, type=CLICK))
    assert visit.title == "Home"
    (visit,) = visits(at(0, title="Home"), at(1, page_url="https://example.com/b"))
    assert visit.title == ""


def test_old_sessions_are_let_go() -> None:
    """No more than a fixed number of sessions is kept for a visitor; the least recently active goes first."""
    kept = visits(*(at(number, session_id=f"t{number}") for number in range(MAX_SESSIONS + 3)))
    assert [session.id for session in kept] == [f"t{number}" for number in range(3, MAX_SESSIONS + 3)]


@pytest.mark.parametrize("seed", range(50))
def test_order_of_arrival_does_not_matter(seed: int) -> None:
    """Events of one visit in any order of arrival give the same visit, as long as each falls within the gap."""
    rng = random.Random(seed)
    events = [
        at(minute + rng.random(), page=rng.choice("abc"), event_id=minute + 1, source=rng.choice(["", "Google"]))
        for minute in range(0, 24, 2)
    ]
    shuffled = rng.sample(events, len(events))
    (expected,), (got,) = visits(*events), visits(*shuffled)
    # An anonymous visit is named by the first event to arrive; its name is no number of ours.
    got.id = expected.id
    assert got == expected, f"seed {seed}"


def test_event_id_is_recognised_within_its_window() -> None:
    """An id is known again while it is among the last ones, and forgotten after."""
    state = VisitorState("default", 1, sessions=[], recent_ids=[])
    assert state.remember(1)
    assert not state.remember(1)
    assert all(state.remember(number) for number in range(2, 66))
    assert state.remember(1)
