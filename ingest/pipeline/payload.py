"""The payload: one event as the browser sends it, its types and hard limits checked while it is decoded.

Unknown fields are ignored, and null is as absent. All meaning is added in `ingest.pipeline.steps`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ingest.contract import limits
from liveinsight.model.events import PropertyValue

_Id = Annotated[str, Meta(max_length=limits.MAX_ID)]
_Url = Annotated[str, Meta(max_length=limits.MAX_URL)]
_Number = int | float
_Time = int | float | Annotated[str, Meta(max_length=limits.MAX_NUMBER_TEXT)]
_PropName = Annotated[str, Meta(max_length=limits.MAX_PROP_NAME)]
_PropValue = Annotated[str, Meta(max_length=limits.MAX_PROP_VALUE)] | int | float | bool | None
_Props = Annotated[dict[_PropName, _PropValue], Meta(max_length=limits.MAX_PROPS)]

Props = dict[str, PropertyValue]


class Revenue(msgspec.Struct, gc=False):
    """What a conversion was worth; `amount` is in major units, e.g. euros."""

    amount: int | float | Annotated[str, Meta(max_length=limits.MAX_NUMBER_TEXT)] | None = None
    currency: str | None = None


class Payload(msgspec.Struct, kw_only=True, gc=False):
    """One event, with the names that existing pages send."""

    event_type: Annotated[str, Meta(max_length=limits.MAX_EVENT_TYPE)] | None = None
    id: _Id | None = None
    site: _Id | None = None
    user_id: _Id | None = None
    session_id: _Id | None = None
    timestamp: _Time | None = None
    sent_at: _Time | None = None
    page_url: _Url | None = None
    referrer: _Url | None = None
    title: str | None = None
    user_agent: str | None = None
    language: str | None = None
    screen_width: _Number | None = None
    engaged_ms: _Number | None = None
    scroll_percent: _Number | None = None
    element_tag: str | None = None
    element_id: str | None = None
    element_class: str | None = None
    element_text: str | None = None
    conversion_type: Annotated[str, Meta(max_length=limits.MAX_CONVERSION_TYPE)] | None = None
    revenue: Revenue | None = None
    props: _Props | None = None


class ServerPayload(Payload, kw_only=True, gc=False):
    """One event as a server sends it, which speaks for a visitor."""

    visitor_id: _Id | None = None
    """Another name for `user_id`, which goes first."""
    client_address: Annotated[str, Meta(max_length=limits.MAX_ADDRESS)] | None = None
    """The visitor's IP address: hashed with the day's salt if there is no id, and then forgotten."""
    anonymous: bool | None = None
    """The visitor asked not to be tracked: ids are not used."""
