"""Well-known sources of visitors, as data: name, kind, and the hosts (or app names) that mean it.

``google.*`` stands for the name under any country's domain. Subdomains of a host mean the same source
unless they have an entry of their own.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What sort of place a source is."""

    SEARCH = "search"
    SOCIAL = "social"
    AI = "ai"
    EMAIL = "email"
    OTHER = "other"


class Source(NamedTuple):
    """A source with a name of its own."""

    name: str
    kind: Kind


_TABLE: tuple[tuple[str, Kind, str], ...] = (
    ("Google", Kind.SEARCH, "google.* com.google.android.googlequicksearchbox"),
    ("Bing", Kind.SEARCH, "bing.com"),
    ("DuckDuckGo", Kind.SEARCH, "duckduckgo.com com.duckduckgo.mobile.android"),
    ("Yahoo", Kind.SEARCH, "search.yahoo.com search.yahoo.co.jp yahoo.* yahoo.co.jp"),
    ("Ecosia", Kind.SEARCH, "ecosia.org"),
    ("Baidu", Kind.SEARCH, "baidu.com"),
    ("Yandex", Kind.SEARCH, "yandex.* ya.ru"),
    ("Brave", Kind.SEARCH, "search.brave.com"),
    ("Startpage", Kind.SEARCH, "startpage.com"),
    ("Qwant", Kind.SEARCH, "qwant.com"),
    ("Kagi", Kind.SEARCH, "kagi.com"),
    ("Naver", Kind.SEARCH, "naver.com"),
    ("Seznam", Kind.SEARCH, "seznam.cz"),
    ("Facebook", Kind.SOCIAL, "facebook.com fb.com fb.me com.facebook.katana"),
    ("Instagram", Kind.SOCIAL, "instagram.com com.instagram.android"),
    ("Threads", Kind.SOCIAL, "threads.net threads.com"),
    ("X", Kind.SOCIAL, "x.com twitter.com t.co com.twitter.android"),
    ("Bluesky", Kind.SOCIAL, "bsky.app"),
    ("Mastodon", Kind.SOCIAL, "mastodon.social mastodon.online fosstodon.org"),
    ("Reddit", Kind.SOCIAL, "reddit.com redd.it com.reddit.frontpage"),
    ("Hacker News", Kind.SOCIAL, "news.ycombinator.com hn.algolia.com"),
    ("Lobsters", Kind.SOCIAL, "lobste.rs"),
    ("LinkedIn", Kind.SOCIAL, "linkedin.com lnkd.in com.linkedin.android"),
    ("YouTube", Kind.SOCIAL, "youtube.com youtu.be com.google.android.youtube"),
    ("TikTok", Kind.SOCIAL, "tiktok.com"),
    ("Pinterest", Kind.SOCIAL, "pinterest.* pin.it"),
    ("Telegram", Kind.SOCIAL, "t.me telegram.org web.telegram.org org.telegram.messenger"),
    ("WhatsApp", Kind.SOCIAL, "whatsapp.com wa.me com.whatsapp"),
    ("Discord", Kind.SOCIAL, "discord.com"),
    ("VK", Kind.SOCIAL, "vk.com"),
    ("ChatGPT", Kind.AI, "chatgpt.com chat.openai.com"),
    ("Perplexity", Kind.AI, "perplexity.ai"),
    ("Claude", Kind.AI, "claude.ai"),
    ("Gemini", Kind.AI, "gemini.google.com bard.google.com"),
    ("Copilot", Kind.AI, "copilot.microsoft.com copilot.com"),
    ("DeepSeek", Kind.AI, "chat.deepseek.com deepseek.com"),
    ("Grok", Kind.AI, "grok.com"),
    ("Mistral", Kind.AI, "chat.mistral.ai"),
    ("Meta AI", Kind.AI, "meta.ai"),
    ("You.com", Kind.AI, "you.com"),
    ("Phind", Kind.AI, "phind.com"),
    ("Gmail", Kind.EMAIL, "mail.google.com com.google.android.gm"),
    ("Outlook", Kind.EMAIL, "outlook.live.com outlook.office.com outlook.office365.com"),
    ("Yahoo Mail", Kind.EMAIL, "mail.yahoo.com"),
    ("Proton Mail", Kind.EMAIL, "mail.proton.me"),
    ("GitHub", Kind.OTHER, "github.com"),
    ("GitLab", Kind.OTHER, "gitlab.com"),
    ("Wikipedia", Kind.OTHER, "wikipedia.org"),
    ("Stack Overflow", Kind.OTHER, "stackoverflow.com"),
    ("Medium", Kind.OTHER, "medium.com"),
    ("Slack", Kind.OTHER, "slack.com com.slack"),
)

BY_HOST: dict[str, Source] = {
    host: Source(name, kind) for name, kind, hosts in _TABLE for host in hosts.split() if not host.endswith(".*")
}

BY_LABEL: dict[str, Source] = {
    host.removesuffix(".*"): Source(name, kind)
    for name, kind, hosts in _TABLE
    for host in hosts.split()
    if host.endswith(".*")
}

BY_NAME: dict[str, Source] = {name.lower(): Source(name, kind) for name, kind, _ in _TABLE} | {
    "twitter": Source("X", Kind.SOCIAL),
    "fb": Source("Facebook", Kind.SOCIAL),
    "ig": Source("Instagram", Kind.SOCIAL),
    "hackernews": Source("Hacker News", Kind.SOCIAL),
}
"""What campaign links call them in ``utm_source``, in lower case."""
