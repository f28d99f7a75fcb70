"""Ids: which visitor a session's id tells."""

from __future__ import annotations

import pytest

from liveinsight.model.ids import known_visitor, own_session_id, visitor_of


@pytest.mark.parametrize("user_id", ["7f3c", "a.b", "me@example.com", "ü", "." * 20])
def test_session_of_the_tracker_tells_its_visitor(user_id: str) -> None:
    """The tracker puts the user's id before the last dot, whatever dots the id itself has."""
    assert visitor_of("shop", f"{user_id}.0c1f52a7d3e9") == known_visitor("shop", user_id)
    assert visitor_of("other", f"{user_id}.0c1f52a7d3e9") != known_visitor("shop", user_id)


def test_session_without_an_id_of_its_own_tells_its_visitor() -> None:
    """The id that we make for it holds the number."""
    assert visitor_of("shop", own_session_id(1 << 62, 1_700_000_000_000)) == 1 << 62


def test_other_ids_tell_nobody() -> None:
    """Those of the first version's pages are random numbers."""
    assert visitor_of("shop", "50ad0d7b-dc02-c65f-37c8-9015a20dd2b1") is None
    assert visitor_of("shop", "") is None
