"""URLs: one spelling for each page, no secrets in it, and bounded lengths."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.contract.limits import MAX_PAGE, MAX_PAGE_BYTES
from ingest.enrichment.pages import CACHED_URLS, LONGEST_CACHED, NO_REFERRER, _cached_page, parse_page, parse_referrer
from ingest.enrichment.paths import TRACKING

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    ("url", "page", "stored"),
    [
        (SHOP, "/", SHOP + "/"),
        (SHOP + "/", "/", SHOP + "/"),
        (SHOP + "/a/", "/a", SHOP + "/a"),
        (SHOP + "//a///b//", "/a/b", SHOP + "/a/b"),
        (SHOP + "/a?token=1#top", "/a", SHOP + "/a"),
        ("HTTPS://User:Pw@Shop.Example:8443/A", "/A", "https://shop.example:8443/A"),
        ("https://shop.example:443/a", "/a", SHOP + "/a"),
        ("http://shop.example:80/a", "/a", "http://shop.example/a"),
        ("https://shop.example:80/a", "/a", "https://shop.example:80/a"),
        ("https://shop.example:/a", "/a", SHOP + "/a"),
        ("https://shop.example./a", "/a", SHOP + "/a"),
        (SHOP + "/a/./b/../c", "/a/c", SHOP + "/a/c"),
        (SHOP + "/../../etc/passwd", "/etc/passwd", SHOP + "/etc/passwd"),
        (SHOP + "/a/%2e%2E/b", "/b", SHOP + "/b"),
        (SHOP + "/a/..", "/", SHOP + "/"),
        (SHOP + "/%7Eme/%61", "/~me/a", SHOP + "/~me/a"),
        (SHOP + "/caf%c3%a9%2fx", "/café%2Fx", SHOP + "/café%2Fx"),
        (SHOP + "/café%2Fx", "/café%2Fx", SHOP + "/café%2Fx"),
        (SHOP + "/%ff%C3", "/%FF%C3", SHOP + "/%FF%C3"),
        (SHOP + "/100%", "/100%25", SHOP + "/100%25"),
        (SHOP + "/100%2541", "/100%2541", SHOP + "/100%2541"),
        (SHOP + "/a b", "/a%20b", SHOP + "/a%20b"),
        (SHOP + "/%00%0a%E2%80%AE", "/%00%0A%E2%80%AE", SHOP + "/%00%0A%E2%80%AE"),
        (SHOP + '/<script>"x"</script>', "/%3Cscript%3E%22x%22%3C/script%3E", None),
        (SHOP + "/index.html", "/index.html", SHOP + "/index.html"),
        (SHOP + "/index.php/", "/index.php", SHOP + "/index.php"),
        (SHOP + "/#/cart?step=2", "/#/cart", SHOP + "/#/cart"),
        (SHOP + "/app/#!/cart", "/app#!/cart", SHOP + "/app#!/cart"),
        (SHOP + "/#top", "/", SHOP + "/"),
        ("https://bücher.example/a", "/a", "https://xn--bcher-kva.example/a"),
        ("https://BÜCHER.example/a", "/a", "https://xn--bcher-kva.example/a"),
        ("https://xn--bcher-kva.example/a", "/a", "https://xn--bcher-kva.example/a"),
        ("http://127.0.0.1:8102/x", "/x", "http://127.0.0.1:8102/x"),
        ("http://[2001:DB8:0::1]:80/x", "/x", "http://[2001:db8::1]/x"),
        ("/only/a/path/?q=1#x", "/only/a/path", "/only/a/path"),
        ("//two//slashes", "/two/slashes", "/two/slashes"),
        ("/", "/", "/"),
    ],
)
def test_pages_have_one_spelling(url: str, page: str, stored: str | None) -> None:
    """Path and host are normalised; query, fragment and user info are gone."""
    parsed = parse_page(url)
    assert parsed is not None
    assert (parsed.page, parsed.url) == (page, stored or SHOP + page)


@pytest.mark.parametrize(
    "url",
    [
        "about:blank",
        "shop.example/x",
        "ftp://x/",
        "https:///x",
        "data:,x",
        "javascript:alert(1)",
        "?q=1",
        "https://a b/",
        "https://[",
        "https://[::1/",
        "https://[v1.x]/",
        "https://a:b/",
        "https://a:99999/",
        "https://a..b/",
        "https://<b>/",
        "https://" + "a" * 254 + "/",
        "https://\u202e.example/",
        "https://%61/",
    ],
)
def test_invalid_pages_are_none(url: str) -> None:
    """Only http(s) URLs of possible hosts and bare paths are pages."""
    assert parse_page(url) is None


@pytest.mark.parametrize(
    ("allow", "page"),
    [
        ((), "/list"),
        (("id",), "/list?id=7"),
        (("id", "Lang"), "/list?Lang=%26de&id=7"),
        (["lang"], "/list"),
        (("none",), "/list"),
        (("*",), "/list?Lang=%26de&empty=&flag&id=7"),
    ],
)
def test_a_site_can_let_query_fields_tell_pages_apart(allow: list[str], page: str) -> None:
    """Those it names, in one order; a star is all that do not tell how somebody came."""
    url = SHOP + "/list/?utm_source=x&id=7&gclid=1&Lang=%26de&flag&&empty=&fbclid=%20&=x#top"
    parsed = parse_page(url, allow)
    assert parsed is not None
    assert (parsed.page, parsed.url) == (page, SHOP + page)
    shuffled = parse_page(SHOP + "/list?flag&empty=&Lang=%26de&id=7", allow)
    assert shuffled is not None
    assert shuffled.page == page


@pytest.mark.parametrize(
    ("name", "tracking"),
    [
        ("utm_source", True),
        ("UTM_ID", True),
        ("gclid", True),
        ("fbclid", True),
        ("msclkid", True),
        ("ttclid", True),
        ("li_fat_id", True),
        ("ScCid", True),
        ("mc_eid", True),
        ("_ga", True),
        ("page", False),
        ("id", False),
        ("q", False),
        ("ref", False),
        ("source", False),
    ],
)
def test_tracking_parameters_are_known(name: str, tracking: bool) -> None:
    """They say how somebody came; what may say what is shown is not among them."""
    assert (TRACKING.fullmatch(name) is not None) is tracking


GROUPS = (
    ("/order/*/items", "/order/:id/items"), ("/order/*", "/order/:id"), ("/blog/*/*", ""), ("/b%5B*", "/bracket"),
    ("/q?", "/q"), ("/docs/**", "/docs"), ("/a*b*c/*.html", "/letters"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/order/4711", "/order/:id"),
        ("/order/4711/", "/order/:id"),
        ("/order/4711/items?x=1", "/order/:id/items"),
        ("/order", "/order"),
        ("/reorder/1", "/reorder/1"),
        ("/order/4711/refund", "/order/4711/refund"),
        ("/blog/2026/title", "/blog/*/*"),
        ("/blog/2026", "/blog/2026"),
        ("/blog/2026/10/title", "/blog/2026/10/title"),
        ("/b[", "/bracket"),
        ("/bb", "/bb"),
        ("/qx", "/qx"),
        ("/docs", "/docs"),
        ("/docs/a/b", "/docs"),
        ("/docsearch", "/docsearch"),
        ("/aXbbXcc/x.html", "/letters"),
        ("/abc/.html", "/letters"),
        ("/abcX/x.html", "/abcX/x.html"),
        ("/ab/c/x.html", "/ab/c/x.html"),
    ],
)
def test_paths_are_grouped_by_the_first_glob_that_fits(path: str, page: str) -> None:
    """What is counted is the group; the URL in the timeline of a session stays."""
    for url in (SHOP + path, path):
        parsed = parse_page(url, path_groups=GROUPS)
        plain = parse_page(url)
        assert parsed is not None
        assert plain is not None
        assert (parsed.page, parsed.url) == (page, plain.url)


def test_globs_of_many_stars_are_quick() -> None:
    """A path made to fail late does not hold up the others."""
    glob = "/" + "*a" * 8 + "b"
    began = time.process_time()
    parsed = parse_page(SHOP + "/" + "a" * 490, path_groups=((glob, "/x"),))
    assert time.process_time() - began < 0.5
    assert parsed is not None
    assert parsed.page != "/x"


@pytest.mark.parametrize("url", ["", "about:client", "https://[", "x", "javascript:1", "https:///x", "http://a:b/"])
def test_an_invalid_referrer_is_as_none(url: str) -> None:
    """It is not worth losing the event."""
    assert parse_referrer(url) == NO_REFERRER


@pytest.mark.parametrize(
    ("url", "referrer"),
    [
        ("https://me:pw@www.Other.example/a?session=1#x", ("https://www.other.example/a", "other.example")),
        ("https://www.google.com/", ("https://www.google.com/", "google.com")),
        ("https://www.google.com", ("https://www.google.com", "google.com")),
        ("https://Bücher.example:443/a/../b/", ("https://xn--bcher-kva.example/b", "xn--bcher-kva.example")),
        ("android-app://com.Slack/", ("android-app://com.slack/", "com.slack")),
        (
            "android-app://com.google.android.googlequicksearchbox/https/www.google.com",
            (
                "android-app://com.google.android.googlequicksearchbox/https/www.google.com",
                "com.google.android.googlequicksearchbox",
            ),
        ),
    ],
)
def test_referrers_lose_query_fragment_and_user_info(url: str, referrer: tuple[str, str]) -> None:
    """They are other sites' URLs, with other sites' secrets in them."""
    assert parse_referrer(url) == referrer


PIECES = st.sampled_from(
    [
        "/", "//", ".", "..", "%2e", "%2E%2e", "%C3%A4", "ä", "%41", "%4", "%", "%25", "?", "&", "=", "#", "#/", "#!/",
        "a", "B", " ", "<script>", "'", '"', "\u202e", "%E2%80%AE", "\U0001f600", "xn--", "bücher", "@", ":", "443",
        "[::1]", "utm_source=x", "id=7", "*", "\\", "http://", "%00", "\u0130", "ß", "。", ";", "+", "\ud800", "a" * 90,
    ]
)  # fmt: skip
ORIGINS = st.sampled_from(
    [
        "",
        "/",
        SHOP,
        "HTTPS://me:pw@Shop.EXAMPLE:443",
        "http://bücher.example",
        "http://[2001:DB8::1]:80",
        "android-app://x",
    ]
)
URLS = st.builds("".join, st.tuples(ORIGINS, st.lists(PIECES, max_size=40).map("".join))) | st.text(max_size=300)


@settings(max_examples=500, deadline=None)
@given(URLS, st.sampled_from([(), ("*",), ("id",), ("id", "B")]))
@example("/" + "%41" * 700, ())
@example("/" + "\U0001f600" * 600, ())
@example("/" + "\U0001f600" * 400, ())
@example(SHOP + "/?" + "&".join(f"x{n}={n}" for n in range(300)), ("*",))
@example(SHOP + "/a" + "a/" * 248 + "..b", ())
@example(SHOP + "/" + "a" * 498 + "/b", ())
@example(SHOP + "/" + "%E2%80%AE" * 60, ())
def test_any_text_becomes_a_bounded_page_or_none(url: str, allow: tuple[str, ...]) -> None:
    """Never an error; as long as it may be; no markup and no blank; and what is normal stays as it is."""
    parsed = parse_page(url, allow)
    if parsed is not None:
        assert len(parsed.page) <= MAX_PAGE
        assert len(parsed.page.encode()) <= MAX_PAGE_BYTES
        assert not set(parsed.url) & set('<>"\\ \n\u2028\u202e')
        again = parse_page(parsed.url, allow)
        assert again is not None
        assert (again.page, again.url, again.host) == (parsed.page, parsed.url, parsed.host)
    referrer = parse_referrer(url)
    assert parse_referrer(referrer.url) == referrer
    assert len(referrer.url) <= MAX_PAGE + 300


def test_the_caches_take_no_long_urls() -> None:
    """A client that makes up URLs of two thousand letters does not fill the memory."""
    before = _cached_page.cache_info().currsize
    for number in range(10):
        parse_page(f"{SHOP}/{number}?" + "y" * LONGEST_CACHED)
    assert _cached_page.cache_info().currsize == before
    assert _cached_page.cache_info().maxsize == CACHED_URLS
