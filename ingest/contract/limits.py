"""All limits of events and requests. Lengths are in characters unless the name has the unit.

Too long identifiers and classifications (ids, URLs, types) are refused, because a cut id is another id. Too long
descriptions (title, text, classes, user agent) are cut.
"""

from __future__ import annotations

from liveinsight.model.buckets import DAY_MS, HOUR_MS, MINUTE_MS

MAX_BODY_BYTES = 256 * 1024
MAX_EVENTS = 100
"""Events per request."""

# Refused when longer.
MAX_ID = 128
MAX_URL = 2000
MAX_ADDRESS = 64
"""Characters of an IP address with its zone."""
MAX_EVENT_TYPE = 50
MAX_CONVERSION_TYPE = 100
MAX_PROPS = 30
MAX_PROP_NAME = 300
MAX_PROP_VALUE = 2000
MAX_PROPS_BYTES = 192 * 1024
"""Keeps every event well under the 256 KB of a stream record."""
MAX_AMOUNT = 10**12
"""Revenue in major units; in minor units it still fits 63 bits for every currency."""
MAX_NUMBER_TEXT = 40
"""Characters of an amount or a time as text."""

# Cut when longer.
MAX_PAGE = 500
MAX_PAGE_BYTES = 900
"""A page is part of a DynamoDB sort key of at most 1,024 bytes; a character beyond ASCII has up to four."""
MAX_TITLE = 300
MAX_USER_AGENT = 512
MAX_ELEMENT_TAG = 100
MAX_ELEMENT_ID = 200
MAX_ELEMENT_CLASSES = 200
MAX_ELEMENT_TEXT = 100
MAX_CAMPAIGN_FIELD = 200
MAX_SOURCE = 200

# Moved to the nearest bound when outside.
MAX_ENGAGED_MS = DAY_MS
MAX_SCROLL_PERCENT = 100
MAX_SCREEN_WIDTH = 100_000

# Times.
MAX_AGE_MS = DAY_MS
"""Older events are refused, except by an importer."""
MAX_FUTURE_MS = 10 * MINUTE_MS
"""How far a browser's clock may be ahead, in payloads without `sent_at`."""
RECENT_MS = HOUR_MS
"""Events younger than this on arrival count as live."""
LAST_TIMESTAMP_MS = 253_402_300_799_999
"""End of the year 9999: larger numbers are no times."""

# Query strings.
MAX_QUERY_FIELDS = 200
