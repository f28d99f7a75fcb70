"""Well-known sources of visitors, as data: name, kind, and the hosts (or app names) that mean it.

``google.*`` stands for the name under any country's domain. Subdomains of a host mean the same source
unless they have an entry of their own.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """Category of a source."""

    SEARCH = "search"
    SOCIAL = "social"
    AI = "ai"
    EMAIL = "email"
    DISPLAY = "display"
    OTHER = "other"


class Source(NamedTuple):
    """A well-known source."""

    name: str
    kind: Kind


class Click(NamedTuple):
    """The platform that adds a click id to links; `paid`: only to links of advertisements."""

    source: str
    kind: Kind
    paid: bool


_TABLE: tuple[tuple[str, Kind, str], ...] = (
    (
        "Google",
        Kind.SEARCH,
        "google.* com.google.android.googlequicksearchbox googleadservices.com googlesyndication.com",
    ),
    ("Bing", Kind.SEARCH, "bing.com com.microsoft.bing cc.bingj.com"),
    ("DuckDuckGo", Kind.SEARCH, "duckduckgo.com ddg.gg com.duckduckgo.mobile.android"),
    ("Yahoo", Kind.SEARCH, "search.yahoo.com search.yahoo.co.jp yahoo.* yahoo.co.jp"),
    ("Ecosia", Kind.SEARCH, "ecosia.org com.ecosia.android"),
    ("Baidu", Kind.SEARCH, "baidu.com"),
    ("Yandex", Kind.SEARCH, "yandex.* ya.ru com.yandex.browser ru.yandex.searchplugin"),
    ("Brave", Kind.SEARCH, "search.brave.com"),
    ("Startpage", Kind.SEARCH, "startpage.com ixquick.com"),
    ("Qwant", Kind.SEARCH, "qwant.com"),
    ("Kagi", Kind.SEARCH, "kagi.com"),
    ("Naver", Kind.SEARCH, "naver.com"),
    ("Daum", Kind.SEARCH, "search.daum.net"),
    ("Nate", Kind.SEARCH, "search.nate.com"),
    ("Seznam", Kind.SEARCH, "seznam.cz"),
    ("Sogou", Kind.SEARCH, "sogou.com"),
    ("360 Search", Kind.SEARCH, "so.com haosou.com"),
    ("Shenma", Kind.SEARCH, "sm.cn"),
    ("Toutiao", Kind.SEARCH, "so.toutiao.com"),
    ("Coc Coc", Kind.SEARCH, "coccoc.com"),
    ("Mail.ru", Kind.SEARCH, "go.mail.ru"),
    ("Rambler", Kind.SEARCH, "nova.rambler.ru"),
    ("Goo", Kind.SEARCH, "search.goo.ne.jp"),
    ("Ask", Kind.SEARCH, "ask.com"),
    ("AOL", Kind.SEARCH, "search.aol.com search.aol.co.uk"),
    ("MSN", Kind.SEARCH, "msn.com"),
    ("Dogpile", Kind.SEARCH, "dogpile.com"),
    ("Lilo", Kind.SEARCH, "search.lilo.org"),
    ("MetaGer", Kind.SEARCH, "metager.de metager.org"),
    ("Mojeek", Kind.SEARCH, "mojeek.com mojeek.co.uk"),
    ("Swisscows", Kind.SEARCH, "swisscows.com"),
    ("Presearch", Kind.SEARCH, "presearch.com presearch.org"),
    ("Karma Search", Kind.SEARCH, "karmasearch.org"),
    ("OceanHero", Kind.SEARCH, "oceanhero.today"),
    ("Freespoke", Kind.SEARCH, "freespoke.com"),
    ("Yep", Kind.SEARCH, "yep.com"),
    ("Stract", Kind.SEARCH, "stract.com"),
    ("Gibiru", Kind.SEARCH, "gibiru.com"),
    ("T-Online", Kind.SEARCH, "suche.t-online.de"),
    ("Web.de", Kind.SEARCH, "suche.web.de"),
    ("GMX", Kind.SEARCH, "suche.gmx.net search.gmx.com"),
    ("Avira", Kind.SEARCH, "search.avira.com"),
    ("AVG", Kind.SEARCH, "mysearch.avg.com"),
    (
        "Facebook",
        Kind.SOCIAL,
        "facebook.com fb.com fb.me messenger.com com.facebook.katana com.facebook.lite com.facebook.orca",
    ),
    ("Instagram", Kind.SOCIAL, "instagram.com com.instagram.android"),
    ("Threads", Kind.SOCIAL, "threads.net threads.com com.instagram.barcelona"),
    ("X", Kind.SOCIAL, "x.com twitter.com t.co com.twitter.android"),
    ("Bluesky", Kind.SOCIAL, "bsky.app xyz.blueskyweb.app"),
    (
        "Mastodon",
        Kind.SOCIAL,
        "mastodon.social mastodon.online mastodon.world fosstodon.org hachyderm.io infosec.exchange mstdn.social mas.to"
        " mstdn.jp chaos.social social.tchncs.de techhub.social mastodon.art mamot.fr pawoo.net troet.cafe"
        " org.joinmastodon.android",
    ),
    ("Pixelfed", Kind.SOCIAL, "pixelfed.social"),
    ("Lemmy", Kind.SOCIAL, "lemmy.world lemmy.ml feddit.org"),
    ("Reddit", Kind.SOCIAL, "reddit.com redd.it com.reddit.frontpage"),
    ("Hacker News", Kind.SOCIAL, "news.ycombinator.com hn.algolia.com"),
    ("Lobsters", Kind.SOCIAL, "lobste.rs"),
    ("Product Hunt", Kind.SOCIAL, "producthunt.com"),
    ("Slashdot", Kind.SOCIAL, "slashdot.org"),
    ("LinkedIn", Kind.SOCIAL, "linkedin.com lnkd.in com.linkedin.android"),
    ("XING", Kind.SOCIAL, "xing.com"),
    ("YouTube", Kind.SOCIAL, "youtube.com youtu.be com.google.android.youtube"),
    ("Vimeo", Kind.SOCIAL, "vimeo.com"),
    ("Twitch", Kind.SOCIAL, "twitch.tv tv.twitch.android.app"),
    ("TikTok", Kind.SOCIAL, "tiktok.com com.zhiliaoapp.musically com.ss.android.ugc.trill"),
    ("Douyin", Kind.SOCIAL, "douyin.com"),
    ("Bilibili", Kind.SOCIAL, "bilibili.com b23.tv"),
    ("Snapchat", Kind.SOCIAL, "snapchat.com com.snapchat.android"),
    ("Pinterest", Kind.SOCIAL, "pinterest.* pin.it com.pinterest"),
    ("Tumblr", Kind.SOCIAL, "tumblr.com t.umblr.com com.tumblr"),
    ("Flickr", Kind.SOCIAL, "flickr.com"),
    ("Quora", Kind.SOCIAL, "quora.com"),
    ("Nextdoor", Kind.SOCIAL, "nextdoor.com"),
    ("Telegram", Kind.SOCIAL, "t.me telegram.me telegram.org org.telegram.messenger org.telegram.messenger.web"),
    ("WhatsApp", Kind.SOCIAL, "whatsapp.com wa.me com.whatsapp"),
    ("Signal", Kind.SOCIAL, "signal.me org.thoughtcrime.securesms"),
    ("Discord", Kind.SOCIAL, "discord.com discordapp.com discord.gg com.discord"),
    ("LINE", Kind.SOCIAL, "line.me jp.naver.line.android"),
    ("KakaoTalk", Kind.SOCIAL, "kakao.com com.kakao.talk"),
    ("WeChat", Kind.SOCIAL, "wechat.com weixin.qq.com com.tencent.mm"),
    ("QQ", Kind.SOCIAL, "qzone.qq.com com.tencent.mobileqq"),
    ("Weibo", Kind.SOCIAL, "weibo.com weibo.cn t.cn com.sina.weibo"),
    ("Xiaohongshu", Kind.SOCIAL, "xiaohongshu.com xhslink.com"),
    ("Zhihu", Kind.SOCIAL, "zhihu.com"),
    ("Douban", Kind.SOCIAL, "douban.com"),
    ("V2EX", Kind.SOCIAL, "v2ex.com"),
    ("VK", Kind.SOCIAL, "vk.com vk.ru vkontakte.ru com.vkontakte.android"),
    ("Odnoklassniki", Kind.SOCIAL, "ok.ru odnoklassniki.ru"),
    ("LiveJournal", Kind.SOCIAL, "livejournal.com"),
    ("Truth Social", Kind.SOCIAL, "truthsocial.com"),
    ("Viadeo", Kind.SOCIAL, "viadeo.com"),
    ("Mixi", Kind.SOCIAL, "mixi.jp"),
    ("Hatena", Kind.SOCIAL, "b.hatena.ne.jp"),
    ("ChatGPT", Kind.AI, "chatgpt.com chat.openai.com com.openai.chatgpt"),
    ("Perplexity", Kind.AI, "perplexity.ai ai.perplexity.app.android"),
    ("Claude", Kind.AI, "claude.ai com.anthropic.claude"),
    ("Gemini", Kind.AI, "gemini.google.com bard.google.com com.google.android.apps.bard"),
    ("NotebookLM", Kind.AI, "notebooklm.google.com notebooklm.google"),
    ("Google AI Studio", Kind.AI, "aistudio.google.com"),
    ("Copilot", Kind.AI, "copilot.microsoft.com copilot.com copilot.cloud.microsoft com.microsoft.copilot"),
    ("DeepSeek", Kind.AI, "chat.deepseek.com deepseek.com com.deepseek.chat"),
    ("Grok", Kind.AI, "grok.com grok.x.ai ai.x.grok"),
    ("Mistral", Kind.AI, "chat.mistral.ai"),
    ("Meta AI", Kind.AI, "meta.ai"),
    ("You.com", Kind.AI, "you.com"),
    ("Phind", Kind.AI, "phind.com"),
    ("Poe", Kind.AI, "poe.com"),
    ("Kimi", Kind.AI, "kimi.com kimi.moonshot.cn kimi.ai"),
    ("Qwen", Kind.AI, "chat.qwen.ai qwen.ai tongyi.com"),
    ("Doubao", Kind.AI, "doubao.com"),
    ("Yuanbao", Kind.AI, "yuanbao.tencent.com"),
    ("Ernie Bot", Kind.AI, "yiyan.baidu.com ernie.baidu.com"),
    ("ChatGLM", Kind.AI, "chatglm.cn z.ai"),
    ("Manus", Kind.AI, "manus.im"),
    ("Genspark", Kind.AI, "genspark.ai"),
    ("Character.AI", Kind.AI, "character.ai"),
    ("Pi", Kind.AI, "pi.ai"),
    ("Duck.ai", Kind.AI, "duck.ai"),
    ("iAsk", Kind.AI, "iask.ai"),
    ("Komo", Kind.AI, "komo.ai"),
    ("Andi", Kind.AI, "andisearch.com"),
    ("Felo", Kind.AI, "felo.ai"),
    ("Consensus", Kind.AI, "consensus.app"),
    ("Lumo", Kind.AI, "lumo.proton.me"),
    ("Gmail", Kind.EMAIL, "mail.google.com com.google.android.gm"),
    (
        "Outlook",
        Kind.EMAIL,
        "outlook.live.com outlook.office.com outlook.office365.com outlook.cloud.microsoft mail.live.com"
        " safelinks.protection.outlook.com com.microsoft.office.outlook",
    ),
    ("Yahoo Mail", Kind.EMAIL, "mail.yahoo.com mail.yahoo.co.jp com.yahoo.mobile.client.android.mail"),
    ("Proton Mail", Kind.EMAIL, "mail.proton.me mail.protonmail.com ch.protonmail.android"),
    ("iCloud Mail", Kind.EMAIL, "icloud.com"),
    ("Fastmail", Kind.EMAIL, "fastmail.com app.fastmail.com"),
    ("Zoho Mail", Kind.EMAIL, "mail.zoho.com mail.zoho.eu"),
    ("AOL Mail", Kind.EMAIL, "mail.aol.com"),
    ("GMX Mail", Kind.EMAIL, "gmx.net gmx.de gmx.com deref-gmx.net deref-gmx.com"),
    ("Web.de Mail", Kind.EMAIL, "navigator.web.de deref-web.de deref-web-02.de"),
    ("T-Online Mail", Kind.EMAIL, "email.t-online.de"),
    ("Orange Mail", Kind.EMAIL, "mail.orange.fr"),
    ("Mail.ru Mail", Kind.EMAIL, "e.mail.ru"),
    ("Yandex Mail", Kind.EMAIL, "mail.yandex.ru mail.yandex.com"),
    ("QQ Mail", Kind.EMAIL, "mail.qq.com"),
    ("NetEase Mail", Kind.EMAIL, "mail.163.com mail.126.com"),
    ("Naver Mail", Kind.EMAIL, "mail.naver.com"),
    ("Seznam Mail", Kind.EMAIL, "email.seznam.cz"),
    ("Hey", Kind.EMAIL, "app.hey.com"),
    ("Tuta", Kind.EMAIL, "app.tuta.com mail.tutanota.com"),
    ("Mailchimp", Kind.EMAIL, "list-manage.com"),
    ("Substack", Kind.OTHER, "substack.com"),
    ("Google Maps", Kind.OTHER, "maps.google.com com.google.android.apps.maps"),
    ("Google News", Kind.OTHER, "news.google.com com.google.android.apps.magazines"),
    (
        "Google Workspace",
        Kind.OTHER,
        "docs.google.com drive.google.com sites.google.com classroom.google.com meet.google.com",
    ),
    ("Google Accounts", Kind.OTHER, "accounts.google.com"),
    ("GitHub", Kind.OTHER, "github.com"),
    ("GitLab", Kind.OTHER, "gitlab.com"),
    ("Wikipedia", Kind.OTHER, "wikipedia.org"),
    ("Stack Overflow", Kind.OTHER, "stackoverflow.com"),
    ("Medium", Kind.OTHER, "medium.com com.medium.reader"),
    ("DEV", Kind.OTHER, "dev.to"),
    ("Slack", Kind.OTHER, "slack.com slack-redir.net com.slack"),
    (
        "Microsoft Teams",
        Kind.OTHER,
        "teams.microsoft.com teams.cloud.microsoft statics.teams.cdn.office.net com.microsoft.teams",
    ),
    ("Notion", Kind.OTHER, "notion.so"),
    ("Feedly", Kind.OTHER, "feedly.com com.devhd.feedly"),
    ("Inoreader", Kind.OTHER, "inoreader.com"),
    ("Flipboard", Kind.OTHER, "flipboard.com flip.it flipboard.app"),
    ("Pocket", Kind.OTHER, "getpocket.com"),
    ("Apple News", Kind.OTHER, "apple.news"),
    ("SmartNews", Kind.OTHER, "smartnews.com jp.gocro.smartnews.android"),
    ("PayPal", Kind.OTHER, "paypal.com"),
    ("Stripe", Kind.OTHER, "checkout.stripe.com"),
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
    "adwords": Source("Google", Kind.SEARCH),
    "fb": Source("Facebook", Kind.SOCIAL),
    "hackernews": Source("Hacker News", Kind.SOCIAL),
    "hn": Source("Hacker News", Kind.SOCIAL),
    "ig": Source("Instagram", Kind.SOCIAL),
    "meta": Source("Facebook", Kind.SOCIAL),
    "openai": Source("ChatGPT", Kind.AI),
    "twitter": Source("X", Kind.SOCIAL),
    "yt": Source("YouTube", Kind.SOCIAL),
}
"""What campaign links call them in ``utm_source``, in lower case."""

BY_CLICK_ID: dict[str, Click] = {
    "gclid": Click("Google", Kind.SEARCH, paid=True),
    "gbraid": Click("Google", Kind.SEARCH, paid=True),
    "wbraid": Click("Google", Kind.SEARCH, paid=True),
    "gad_source": Click("Google", Kind.SEARCH, paid=True),
    "dclid": Click("Google", Kind.DISPLAY, paid=True),
    "msclkid": Click("Bing", Kind.SEARCH, paid=True),
    "yclid": Click("Yandex", Kind.SEARCH, paid=True),
    "ttclid": Click("TikTok", Kind.SOCIAL, paid=True),
    "twclid": Click("X", Kind.SOCIAL, paid=True),
    "li_fat_id": Click("LinkedIn", Kind.SOCIAL, paid=True),
    "sccid": Click("Snapchat", Kind.SOCIAL, paid=True),
    "rdt_cid": Click("Reddit", Kind.SOCIAL, paid=True),
    "epik": Click("Pinterest", Kind.SOCIAL, paid=True),
    "qclid": Click("Quora", Kind.SOCIAL, paid=True),
    "obclid": Click("Outbrain", Kind.DISPLAY, paid=True),
    "tblci": Click("Taboola", Kind.DISPLAY, paid=True),
    "fbclid": Click("Facebook", Kind.SOCIAL, paid=False),
    "igshid": Click("Instagram", Kind.SOCIAL, paid=False),
    "igsh": Click("Instagram", Kind.SOCIAL, paid=False),
    "srsltid": Click("Google", Kind.SEARCH, paid=False),
    "mc_eid": Click("Mailchimp", Kind.EMAIL, paid=False),
    "_hsenc": Click("HubSpot", Kind.EMAIL, paid=False),
    "mkt_tok": Click("Marketo", Kind.EMAIL, paid=False),
    "vero_id": Click("Vero", Kind.EMAIL, paid=False),
    "_kx": Click("Klaviyo", Kind.EMAIL, paid=False),
}
"""By the query field, in lower case; what is paid for goes first."""
