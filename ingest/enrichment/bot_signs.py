"""What gives a program away in a user agent, as data.

The list of known crawlers (``crawler-user-agents``) knows names; the signs here catch what no list has yet: words for
what the program does, an address to write to, HTTP libraries, browsers that a program drives, and texts that no
browser would send; all of them for a text in lower case. `INNOCENT` is the other side: parts of people's user agents
that the list takes for crawlers.
"""

from __future__ import annotations

import re

HEADLESS = re.compile(
    r"headless|phantomjs|slimerjs|puppeteer|playwright|selenium|webdriver|splash\b|jsdom|cypress/|testcafe|nightmare"
    r"|spectron|prerender|rendertron",
)
"""Browsers driven by a program."""

HTTP_LIBRARY = re.compile(
    r"(?:aiohttp|amazon cloudfront|apache-httpclient|axios|curl|dart|deno|faraday|go-http-client|go-resty|got|grpc"
    r"|guzzlehttp|http-?kit|http_request2|httpie|httpx|insomnia|jakarta|java|libcurl|libwww-perl|lua-resty|lwp|node"
    r"|node-fetch|node-superagent|okhttp|php|postmanruntime|python|reactor-netty|reqwest|request|restsharp|rest-client|ruby"
    r"|scalaj|typhoeus|undici|urllib|werkzeug|wget|winhttp|zend)\b",
)
"""Programs that speak HTTP for somebody else, at the start. Their own name says nothing about the visitor.

CloudFront puts itself in the visitor's place unless it is told to pass the header on.
"""

CALLING = re.compile(
    r"(?<!cu)bot(?:s?\b|[/_-])|pinger\b|crawl|spider|scrap(?:er|y\b|ing)|slurp|robot|archiver|fetcher|grabber|extractor"
    r"|validator|link.?check|checker\b|(?:link|url|web|site|image|uri).?preview|preview/"
    r"|(?:site|web|server|uptime).?monitor"
    r"|monitoring|indexer|health.?check|health.?service|http.?client|synthetics?(?:\b|agent)|lighthouse|page.?speed|uptime"
    r"|observatory|site24x7|gecko\)?; compatible;|feed.?(?:reader|parser|burner|demon|dler)|feedparser|\brss"
    r"|(?<!cam)scanner|\bprobe|-probe/|(?:image|mail|email).?proxy|googleother|google-|-google\b|adwords|favicon",
)
"""Words for what programs do for a living. Cubot makes phones."""

CONTACT = re.compile(
    r"[+(;,\s] ?(?:https?://|www\.|github\.com/)(?!(?:www\.)?bsalsa\.com)|^https?://|mailto:|[\w.-]@[a-z0-9-]+\.[a-z]{2,}"
)
"""Where to complain: a page or a mailbox. Browsers give none."""

NO_BROWSER = re.compile(
    # Nothing in brackets about the system, and not one of the old phones that said it without them.
    r"(?!.*(?:\(|midp|cfnetwork|opera|blackberry|nokia|samsung|sonyericsson|maui|ucweb|lynx|w3m|links))"
    r"|mozilla/5\.0 \(compatible; (?!msie|konqueror|u; abrowse|ibrowse|origyn)(?!.*(?:chrome|firefox|version)/\d)"
    r"|\(|'|\""
)
"""At the start: what no browser is called."""

INNOCENT = re.compile(
    r"Build/[\w.-]+|MetaIAB|Viber|Sonic(?= )|Fluid/|Code/[\d.]+|Trae/|Cursor/|Fever|Swisscows|Tumblr/|Bluesky/|Notion/"
    r"|Asana/|Crazy Egg|mail\.ru(?=[/ ]|$)"
)
"""Parts of people's user agents: builds of Android, in-app browsers and desktop programs that show web pages.

For the text as it was sent, as the list is.
"""
