"""The decisions of ingest as tables: pages, sources and channels, money, time skew."""

from __future__ import annotations

import pytest

from ingest.limits import MAX_PAGE
from ingest.money import EXPONENTS, minor_units
from ingest.pages import NO_REFERRER, parse_page, parse_referrer
from ingest.payload import Revenue
from ingest.sources import attribute
from ingest.times import occurred_at
from liveinsight.errors import InvalidPayload
from liveinsight.testing import NOON

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("url", "page", "stored"),
    [
        ("https://shop.example", "/", "https://shop.example/"),
        ("https://shop.example/", "/", "https://shop.example/"),
        ("https://shop.example/a/", "/a", "https://shop.example/a/"),
        ("https://shop.example//a///b//", "/a/b", "https://shop.example//a///b//"),
        ("https://shop.example/a?token=1#top", "/a", "https://shop.example/a"),
        ("HTTPS://User:Pw@Shop.Example:8443/A", "/A", "https://shop.example:8443/A"),
        ("https://shop.example/caf%C3%A9%2Fx", "/caf%C3%A9%2Fx", "https://shop.example/caf%C3%A9%2Fx"),
        ("https://shop.example/käse", "/käse", "https://shop.example/käse"),
        ("https://shop.example/#/cart?step=2", "/#/cart", "https://shop.example/"),
        ("https://shop.example/app/#!/cart", "/app#!/cart", "https://shop.example/app/"),
        ("http://127.0.0.1:8102/x", "/x", "http://127.0.0.1:8102/x"),
        ("http://[2001:db8::1]:80/x", "/x", "http://[2001:db8::1]:80/x"),
        ("/only/a/path/?q=1#x", "/only/a/path", "/only/a/path/"),
        ("//two//slashes", "/two/slashes", "//two//slashes"),
        ("/", "/", "/"),
    ],
)
def test_pages_are_normalised(url, page, stored):
    """The path counts; query, fragment and user info are gone from both."""
    parsed = parse_page(url)
    assert parsed is not None
    assert (parsed.page, parsed.url) == (page, stored)


def test_long_paths_are_cut():
    """A page's name has its limit."""
    parsed = parse_page("https://shop.example/" + "a" * 1900)
    assert parsed is not None
    assert len(parsed.page) == MAX_PAGE


@pytest.mark.parametrize("url", ["about:blank", "shop.example/x", "ftp://x/", "https:///x", "data:,x", "?q=1"])
def test_what_is_no_page_is_said_to_be_none(url):
    """Only http(s) and bare paths are pages."""
    assert parse_page(url) is None


@pytest.mark.parametrize("url", ["", "about:client", "https://[", "x", "javascript:1", "https:///x", "http://a:b/"])
def test_a_strange_referrer_is_as_none(url):
    """It is not worth losing the event."""
    assert parse_referrer(url) == NO_REFERRER


def test_referrers_lose_query_fragment_and_user_info():
    """They are other sites' URLs, with other sites' secrets in them."""
    assert parse_referrer("https://me:pw@www.Other.example/a?session=1#x") == (
        "https://www.other.example/a",
        "other.example",
    )


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
        ("gclid=1", "https://www.google.com/", "Google", "Paid Search"),
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
def test_sources_and_channels(query, referrer, source, channel):
    """Campaign fields first, then the referrer; the same host is no source."""
    traffic = attribute("shop.example", query, parse_referrer(referrer).host)
    assert (traffic.source, traffic.channel) == (source, channel)


def test_www_makes_no_other_site():
    """A page under www. is not referred by its own bare host."""
    referrer = parse_referrer("https://shop.example/a").host
    assert attribute("www.shop.example", "", referrer).channel == "Direct"


def test_campaign_fields_are_decoded_and_cut():
    """All five are kept, each up to its limit."""
    query = "utm_source=a%20b&utm_medium=m&utm_campaign=" + "c" * 300 + "&utm_term=%C3%A4&utm_content=x+y"
    campaign = attribute("shop.example", query, "").campaign
    assert campaign == ("a b", "m", "c" * 200, "ä", "x y", False)


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
def test_revenue_in_minor_units(amount, currency, minor):
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
def test_revenue_that_is_refused(amount, currency, reason):
    """Money is taken only when it is certain how much it is."""
    with pytest.raises(InvalidPayload) as refusal:
        minor_units(Revenue(amount, currency))
    assert refusal.value.reason == reason


def test_the_largest_revenue_fits_in_63_bits():
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
def test_time_skew(timestamp, sent_at, occurred):
    """With sent_at only differences of the browser's clock count; without, its time is taken within limits."""
    if isinstance(occurred, int):
        assert occurred_at(timestamp, sent_at, NOON, 24 * HOUR) == occurred
        return
    with pytest.raises(InvalidPayload) as refusal:
        occurred_at(timestamp, sent_at, NOON, 24 * HOUR)
    assert refusal.value.reason == occurred


def test_an_import_takes_any_age():
    """Without a maximum age years ago is fine, the future is not."""
    assert occurred_at(1_431_861_905_000, None, NOON, None) == 1_431_861_905_000
    with pytest.raises(InvalidPayload):
        occurred_at(NOON + HOUR, None, NOON, None)


@pytest.mark.parametrize(("age", "recent"), [(HOUR, True), (HOUR + 1, False)])
def test_recent_events_are_those_of_the_last_hour(service, view, age, recent):
    """Exactly an hour still counts as live."""
    assert service.only_event(view(timestamp=NOON - age)).recent is recent
