"""Signs of bots in user agents, as regular expressions.

The package ``crawler-user-agents`` lists known crawlers by name. The signs here find bots that are on no list: by
keywords of automation, contact addresses, HTTP libraries, automated browsers, and texts that no browser sends. They are
for a user agent in lower case. `NOT_BOTS` lists exceptions: parts of browsers' user agents that the package takes for
crawlers.
"""

from __future__ import annotations

import re

HEADLESS = re.compile(
    r"headless|phantomjs|slimerjs|puppeteer|playwright|selenium|webdriver|splash\b|jsdom|cypress/|testcafe|nightmare"
    r"|spectron|prerender|rendertron",
)
"""Automated browsers."""

HTTP_LIBRARY = re.compile(
    r"(?:aiohttp|amazon cloudfront|apache-httpclient|axios|curl|dart|deno|faraday|go-http-client|go-resty|got|grpc"
    r"|guzzlehttp|http-?kit|http_request2|httpie|httpx|insomnia|jakarta|java|libcurl|libwww-perl|lua-resty|lwp|node"
    r"|node-fetch|node-superagent|okhttp|php|postmanruntime|python|reactor-netty|reqwest|request|restsharp|rest-client|ruby"
    r"|scalaj|typhoeus|undici|urllib|werkzeug|wget|winhttp|zend)\b",
)
"""HTTP libraries and proxies, at the start. Their own name says nothing about the visitor.

CloudFront replaces the visitor's user agent with its own unless it is configured to forward the header.
"""

AUTOMATION = re.compile(
    r"(?<!cu)bot(?:s?\b|[/_-])|pinger\b|crawl|spider|scrap(?:er|y\b|ing)|slurp|robot|archiver|fetcher|grabber|extractor"
    r"|validator|link.?check|checker\b|(?:link|url|web|site|image|uri).?preview|preview/"
    r"|(?:site|web|server|uptime).?monitor"
    r"|monitoring|indexer|health.?check|health.?service|http.?client|synthetics?(?:\b|agent)|lighthouse|page.?speed|uptime"
    r"|observatory|site24x7|gecko\)?; compatible;|feed.?(?:reader|parser|burner|demon|dler)|feedparser|\brss"
    r"|(?<!cam)scanner|\bprobe|-probe/|(?:image|mail|email).?proxy|googleother|google-|-google\b|adwords|favicon",
)
"""Keywords that indicate automation. Cubot, a phone brand, is excluded."""

CONTACT = re.compile(
    r"[+(;,\s] ?(?:https?://|www\.|github\.com/)(?!(?:www\.)?bsalsa\.com)|^https?://|mailto:|[\w.-]@[a-z0-9-]+\.[a-z]{2,}"
)
"""Contact URL or e-mail address that crawlers advertise."""

NO_BROWSER = re.compile(
    # Nothing in brackets about the system, and not one of the old phones that said it without them.
    r"(?!.*(?:\(|midp|cfnetwork|opera|blackberry|nokia|samsung|sonyericsson|maui|ucweb|lynx|w3m|links))"
    r"|mozilla/5\.0 \(compatible; (?!msie|konqueror|u; abrowse|ibrowse|origyn)(?!.*(?:chrome|firefox|version)/\d)"
    r"|\(|'|\""
)
"""At the start: texts that no browser sends."""

NOT_BOTS = re.compile(
    r"Build/[\w.-]+|MetaIAB|Viber|Sonic(?= )|Fluid/|Code/[\d.]+|Trae/|Cursor/|Fever|Swisscows|Tumblr/|Bluesky/|Notion/"
    r"|Asana/|Crazy Egg|mail\.ru(?=[/ ]|$)"
)
"""Android builds, in-app browsers and desktop programs that show web pages. For a user agent as it was sent."""
