"""The decisions of ingest as tables: sources and channels, money, time skew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest.enrichment.attribution import (
    CACHED_SOURCES,
    LONGEST_CACHED,
    _cached_attribute,
    attribute,
    known_source,
    own_hosts,
)
from ingest.enrichment.known_sources import BY_HOST, BY_NAME
from ingest.enrichment.pages import parse_referrer
from ingest.pipeline.event_time import occurred_at
from ingest.pipeline.money import minor_units
from ingest.pipeline.payload import Revenue
from liveinsight.model.currencies import EXPONENTS
from liveinsight.model.errors import InvalidPayload
from liveinsight.testing.builders import NOON
from tests.ingest.conftest import Payload, Service

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("query", "referrer", "source", "channel"),
    [
        ("", "", "", "Direct"),
        ("", "https://shop.example/other", "", "Direct"),
        ("", "https://www.shop.example/other", "", "Direct"),
        ("", "https://www.google.com/", "Google", "Organic Search"),
        ("", "https://www.google.co.uk/search", "Google", "Organic Search"),
        ("", "https://google.evil.example/", "google.evil.example", "Referral"),
        ("", "https://notgoogle.com/", "notgoogle.com", "Referral"),
        ("", "android-app://com.google.android.googlequicksearchbox/", "Google", "Organic Search"),
        ("", "https://www.bing.com/", "Bing", "Organic Search"),
        ("", "https://duckduckgo.com/", "DuckDuckGo", "Organic Search"),
        ("", "https://l.facebook.com/l.php?u=1", "Facebook", "Organic Social"),
        ("", "https://t.co/abc", "X", "Organic Social"),
        ("", "https://old.reddit.com/r/x", "Reddit", "Organic Social"),
        ("", "https://news.ycombinator.com/item?id=1", "Hacker News", "Organic Social"),
        ("", "https://www.linkedin.com/", "LinkedIn", "Organic Social"),
        ("", "https://m.youtube.com/", "YouTube", "Organic Social"),
        ("", "https://github.com/x/y", "GitHub", "Referral"),
        ("", "https://en.wikipedia.org/wiki/X", "Wikipedia", "Referral"),
        ("", "https://chatgpt.com/", "ChatGPT", "AI Assistants"),
        ("", "https://www.perplexity.ai/", "Perplexity", "AI Assistants"),
        ("", "https://claude.ai/", "Claude", "AI Assistants"),
        ("", "https://gemini.google.com/", "Gemini", "AI Assistants"),
        ("", "https://copilot.microsoft.com/", "Copilot", "AI Assistants"),
        ("", "https://mail.google.com/", "Gmail", "Email"),
        ("", "https://blog.example/post", "blog.example", "Referral"),
        ("", "android-app://com.google.android.gm/", "Gmail", "Email"),
        ("", "android-app://com.linkedin.android/", "LinkedIn", "Organic Social"),
        ("", "android-app://com.example.news/", "com.example.news", "Referral"),
        ("", "https://notebooklm.google.com/", "NotebookLM", "AI Assistants"),
        ("", "https://chat.mistral.ai/chat/1", "Mistral", "AI Assistants"),
        ("", "https://grok.com/", "Grok", "AI Assistants"),
        ("", "https://duck.ai/", "Duck.ai", "AI Assistants"),
        ("", "https://deref-gmx.net/mail/client/x", "GMX Mail", "Email"),
        ("", "https://eur01.safelinks.protection.outlook.com/", "Outlook", "Email"),
        ("", "https://docs.google.com/document/d/1", "Google Workspace", "Referral"),
        ("", "https://search.brave.com/search", "Brave", "Organic Search"),
        ("", "https://yandex.com.tr/", "Yandex", "Organic Search"),
        ("", "https://mail.yandex.ru/", "Yandex Mail", "Email"),
        ("", "https://mstdn.social/@me", "Mastodon", "Organic Social"),
        ("", "https://teams.microsoft.com/", "Microsoft Teams", "Referral"),
        ("gclid=1", "https://www.google.com/", "Google", "Paid Search"),
        ("gclid=1", "", "Google", "Paid Search"),
        ("GCLID=1", "", "Google", "Paid Search"),
        ("gclid=", "", "", "Direct"),
        ("gbraid=1", "https://blog.example/", "Google", "Paid Search"),
        ("gclid=1", "https://www.youtube.com/", "YouTube", "Paid Social"),
        ("msclkid=1", "https://duckduckgo.com/", "DuckDuckGo", "Paid Search"),
        ("fbclid=1", "", "Facebook", "Organic Social"),
        ("fbclid=1", "https://l.instagram.com/", "Instagram", "Organic Social"),
        ("fbclid=1&utm_source=ig&utm_medium=paid", "", "Instagram", "Paid Social"),
        ("ttclid=1", "https://www.tiktok.com/", "TikTok", "Paid Social"),
        ("twclid=1", "https://t.co/x", "X", "Paid Social"),
        ("li_fat_id=1", "", "LinkedIn", "Paid Social"),
        ("ScCid=1", "", "Snapchat", "Paid Social"),
        ("rdt_cid=1", "", "Reddit", "Paid Social"),
        ("yclid=1", "", "Yandex", "Paid Search"),
        ("dclid=1", "https://news.example/", "Google", "Display"),
        ("tblci=1", "", "Taboola", "Display"),
        ("srsltid=1", "", "Google", "Organic Search"),
        ("mc_eid=1", "", "Mailchimp", "Email"),
        ("gclid=1&utm_source=newsletter&utm_medium=email", "", "newsletter", "Paid Search"),
        ("UTM_Source=Bing&UTM_Medium=CPC", "", "Bing", "Paid Search"),
        ("utm_source=perplexity", "", "Perplexity", "AI Assistants"),
        ("utm_source=somebot&utm_medium=ai-assistant", "", "somebot", "AI Assistants"),
        ("msclkid=1", "https://www.bing.com/", "Bing", "Paid Search"),
        ("utm_source=google&utm_medium=cpc", "", "Google", "Paid Search"),
        ("utm_source=somewhere&utm_medium=PPC", "", "somewhere", "Paid Search"),
        ("utm_source=facebook&utm_medium=paid", "", "Facebook", "Paid Social"),
        ("utm_source=news&utm_medium=email", "https://www.google.com/", "news", "Email"),
        ("utm_source=twitter&utm_medium=social", "", "X", "Organic Social"),
        ("utm_source=chatgpt.com", "", "ChatGPT", "AI Assistants"),
        ("utm_source=partner&utm_medium=affiliate", "", "partner", "Affiliates"),
        ("utm_source=ads&utm_medium=banner", "", "ads", "Display"),
        ("utm_source=flyer&utm_campaign=spring", "", "flyer", "Campaign"),
        ("utm_campaign=spring", "https://blog.example/", "blog.example", "Campaign"),
        ("x=gclid", "", "", "Direct"),
        ("&".join(["utm_source=x"] * 500), "", "", "Direct"),
    ],
)
def test_sources_and_channels(query: str, referrer: str, source: str, channel: str) -> None:
    """Campaign fields first, then the referrer; the same host is no source."""
    traffic = attribute("shop.example", query, parse_referrer(referrer).host)
    assert (traffic.source, traffic.channel) == (source, channel)


def test_www_makes_no_other_site() -> None:
    """A page under www. is not referred by its own bare host."""
    referrer = parse_referrer("https://shop.example/a").host
    assert attribute("www.shop.example", "", referrer).channel == "Direct"


def test_a_sites_other_hosts_are_no_source() -> None:
    """Who comes from the shop to the blog of the same site has come from nowhere new."""
    own = own_hosts(("https://shop.example", "https://www.blog.example:8443", "https://*.shop.example", "*"))
    assert attribute("shop.example", "", parse_referrer("https://blog.example/a").host, own).channel == "Direct"
    assert attribute("shop.example", "", parse_referrer("https://other.example/a").host, own).source == "other.example"


def test_a_sites_origins_are_its_own_hosts(service: Service, view: Callable[..., Payload]) -> None:
    """Any origin may send by default: that makes no host the site's own."""
    assert service.only_event(view(referrer="https://blog.example/")).source == "blog.example"


def test_every_known_source_is_found_by_its_hosts_and_its_name() -> None:
    """No entry is hidden by another, and hosts are written as they are looked up."""
    for host, source in BY_HOST.items():
        assert host == parse_referrer(f"https://{host}/").host
        assert known_source(host) == source
        assert attribute("shop.example", "", host).source == source.name
    for name, source in BY_NAME.items():
        assert attribute("shop.example", f"utm_source={name}", "").source == source.name


def test_the_cache_of_sources_takes_no_long_queries() -> None:
    """A client that makes up queries of two thousand letters does not fill the memory."""
    before = _cached_attribute.cache_info().currsize
    for number in range(10):
        assert attribute("shop.example", f"utm_source=x{number}&" + "y" * LONGEST_CACHED, "").channel == "Campaign"
    assert _cached_attribute.cache_info().currsize == before
    assert _cached_attribute.cache_info().maxsize == CACHED_SOURCES


def test_campaign_fields_are_decoded_and_cut() -> None:
    """All five are kept, each up to its limit."""
    query = "utm_source=a%20b&utm_medium=m&utm_campaign=" + "c" * 300 + "&utm_term=%C3%A4&utm_content=x+y"
    campaign = attribute("shop.example", query, "").campaign
    assert campaign == ("a b", "m", "c" * 200, "ä", "x y", None)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        (12.5, "EUR", 1250),
        ("12.50", "eur", 1250),
        (" 12 ", "USD", 1200),
        (0.1 + 0.2, "USD", 30),
        (19.999, "USD", 2000),
        (0.005, "USD", 1),
        (1200, "JPY", 1200),
        (1200.5, "JPY", 1201),
        ("1.5", "KWD", 1500),
        (0, "EUR", 0),
        ("-0", "EUR", 0),
        (10**12, "EUR", 10**14),
        (10**12, "CLF", 10**16),
        (1e-300, "EUR", 0),
    ],
)
def test_revenue_in_minor_units(amount: float | str, currency: str, minor: int) -> None:
    """Every currency's own exponent; halves round up."""
    assert minor_units(Revenue(amount, currency)) == (minor, currency.upper())


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        (-0.01, "EUR", "invalid_revenue"),
        ("-1", "EUR", "invalid_revenue"),
        (10**12 + 1, "EUR", "invalid_revenue"),
        (1e308, "EUR", "invalid_revenue"),
        (10**4000, "EUR", "invalid_revenue"),
        (float("nan"), "EUR", "invalid_revenue"),
        (float("inf"), "EUR", "invalid_revenue"),
        ("NaN", "EUR", "invalid_revenue"),
        ("Infinity", "EUR", "invalid_revenue"),
        ("1e5", "EUR", "invalid_revenue"),
        ("1_000", "EUR", "invalid_revenue"),
        ("1,50", "EUR", "invalid_revenue"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "EUR", "invalid_revenue"),
        ("", "EUR", "invalid_revenue"),
        (None, "EUR", "missing_field"),
        (1, None, "missing_field"),
        (1, "", "missing_field"),
        (1, "EURO", "unknown_currency"),
        (1, "XXX", "unknown_currency"),
    ],
)
def test_revenue_that_is_refused(amount: float | str | None, currency: str | None, reason: str) -> None:
    """Money is taken only when it is certain how much it is."""
    with pytest.raises(InvalidPayload) as refusal:
        minor_units(Revenue(amount, currency))
    assert refusal.value.reason == reason


def test_the_largest_revenue_fits_in_63_bits() -> None:
    """For every currency there is."""
    assert all(minor_units(Revenue(10**12, currency))[0] < 2**63 for currency in EXPONENTS)


@pytest.mark.parametrize(
    ("timestamp", "sent_at", "occurred"),
    [
        (None, None, NOON),
        (None, NOON - HOUR, NOON),
        (NOON - 5, None, NOON - 5),
        (NOON + 600_000, None, NOON),
        (NOON - 24 * HOUR, None, NOON - 24 * HOUR),
        (1000, 3000, NOON - 2000),
        (NOON + 90 * HOUR, NOON + 91 * HOUR, NOON - HOUR),
        (NOON + 90 * HOUR, NOON, NOON),
        (3000, 1000, NOON),
        (0, 24 * HOUR, NOON - 24 * HOUR),
        (0, 24 * HOUR + 1, "too_old"),
        (NOON + 600_001, None, "future_timestamp"),
        (NOON - 24 * HOUR - 1, None, "too_old"),
        (float("nan"), None, "invalid_timestamp"),
    ],
)
def test_time_skew(timestamp: float | None, sent_at: int | None, occurred: int | str) -> None:
    """With sent_at only differences of the browser's clock count; without, its time is taken within limits."""
    if isinstance(occurred, int):
        assert occurred_at(timestamp, sent_at, NOON, 24 * HOUR) == occurred
        return
    with pytest.raises(InvalidPayload) as refusal:
        occurred_at(timestamp, sent_at, NOON, 24 * HOUR)
    assert refusal.value.reason == occurred


def test_an_import_takes_any_age() -> None:
    """Without a maximum age years ago is fine, the future is not."""
    assert occurred_at(1_431_861_905_000, None, NOON, None) == 1_431_861_905_000
    with pytest.raises(InvalidPayload):
        occurred_at(NOON + HOUR, None, NOON, None)


@pytest.mark.parametrize(("age", "recent"), [(HOUR, True), (HOUR + 1, False)])
def test_recent_events_are_those_of_the_last_hour(
    service: Service, view: Callable[..., Payload], age: int, recent: bool
) -> None:
    """Exactly an hour still counts as live."""
    assert service.only_event(view(timestamp=NOON - age)).recent is recent
