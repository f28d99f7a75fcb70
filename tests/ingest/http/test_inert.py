"""Script in every field is stored as inert text of bounded length."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ingest.contract import limits
from ingest.contract.text import clean, clean_phrase
from ingest.enrichment.addresses import address_number
from liveinsight.testing.builders import NOON
from tests.ingest.conftest import Payload, Service

SCRIPT = "<script>alert(1)</script>"
TRICKS = "\x00\x1b[31m\r\n\x7f\x85\u2028\u2029\u202e\u2066\ufeff\uffff"
EVIL = f"\"'>{TRICKS}{SCRIPT}{{{{7*7}}}}${{7*7}}"


def texts_of(value: object) -> list[str]:
    """All texts in an event, names of properties included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts_of(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts_of(part)]
    return []


def test_script_in_every_field_is_stored_inert(service: Service, view: Callable[..., Payload]) -> None:
    """No control character and nothing that turns the text around is left; URLs hold no markup at all."""
    event = service.only_event(
        view(
            id=EVIL,
            event_type="conversion",
            user_id=EVIL,
            session_id=EVIL,
            page_url=f"https://shop.example/{EVIL}?{EVIL}#/{EVIL}",
            referrer=f"https://other.example/{EVIL}",
            user_agent=EVIL,
            title=EVIL,
            language=EVIL,
            element_tag=EVIL,
            element_id=EVIL,
            element_class=EVIL,
            element_text=EVIL,
            conversion_type=EVIL,
            props={EVIL: EVIL},
        ),
        headers={"Accept-Language": "<script>", "Referer": f"https://x.example/{SCRIPT}", "CF-IPCountry": "<b>"},
    )
    texts = texts_of(msgspec.to_builtins(event))
    assert sum(SCRIPT in text for text in texts) >= 9
    for text in texts:
        assert not [letter for letter in text if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}], ascii(text)
        assert not set(text) & set("\u202a\u202b\u202d\u202e\u2066\u2067\ufeff\uffff"), ascii(text)
    for url in (event.page, event.page_url, event.referrer):
        assert not set(url) & set('<>"`\\ ')
    assert (event.language, event.country) == ("", "")


@pytest.mark.parametrize("tag", ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"])
def test_script_in_a_campaign_is_stored_inert(service: Service, view: Callable[..., Payload], tag: str) -> None:
    """Campaign fields are decoded, so what was encoded is cleaned, too."""
    event = service.only_event(view(page_url=f"https://shop.example/?{tag}=%00%0A%E2%80%AE%3Cscript%3E"))
    assert getattr(event, tag) == "<script>"


def test_nothing_grows_without_bound(service: Service, view: Callable[..., Payload]) -> None:
    """The longest texts that are let in make an event of a bounded size."""
    long = "\U0001f600" * 2_000
    event = service.only_event(
        view(
            title=long,
            page_url="https://shop.example/" + "%F0%9F%98%80" * 160,
            element_text=long,
            element_class=long,
            element_tag=long,
            element_id=long,
        )
    )
    assert len(event.title) <= limits.MAX_TITLE
    assert len(event.page.encode()) <= limits.MAX_PAGE_BYTES
    assert len(msgspec.msgpack.encode(event)) < 8 * 1024


@pytest.mark.parametrize("function", [clean, clean_phrase])
def test_cleaned_text_stays_as_it_is(function: Callable[..., Any]) -> None:
    """Cleaning twice is cleaning once, and letters of any script and faces stay."""
    once = function(EVIL, 500)
    assert function(once, 500) == once
    assert function("žluťoučký 漢字 \U0001f468\u200d\U0001f469", 500) == "žluťoučký 漢字 \U0001f468\u200d\U0001f469"


@pytest.mark.parametrize("text", ["203.0.113.77.", "203.0.113.77\x00", "2001:db8::77::", "x203.0.113.77"])
def test_what_is_no_address_is_not_in_the_error(text: str) -> None:
    """It may be one with a slip of the pen."""
    with pytest.raises(ValueError, match=r"^no IP address$") as refusal:
        address_number(text)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_the_region_is_in_records_and_old_records_have_none(service: Service, view: Callable[..., Payload]) -> None:
    """The field stands at the end: records of the release before are read as they are."""
    event = service.only_event(view())
    fields = msgspec.to_builtins(event)
    assert type(event).__struct_fields__[-1] == "region"
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:-1]), type=type(event))
    assert old == event
    assert old.occurred_at == NOON
