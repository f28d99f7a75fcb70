"""What an endpoint is: a checked question in, an answer and its cost out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from api.http.parameters import Values
from api.query.freshness import Freshness
from liveinsight.runtime.openapi import Parameter
from liveinsight.storage.store import ReadStore


@dataclass(frozen=True)
class Question:
    """A request whose parameters are checked. `site` and `zone` are the default site's where none is asked for."""

    store: ReadStore
    sites: Mapping[str, ZoneInfo]
    site: str
    zone: ZoneInfo
    now: int
    freshness: Freshness
    values: Values
    session_id: str = ""


@dataclass(frozen=True)
class Answer:
    """The data, the range they cover (epoch ms, end excluded; None where there is none), and more for `meta`."""

    data: object
    items_read: int
    start_ms: int | None = None
    end_ms: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False
    """See `liveinsight.storage.store.Read`."""


class Shape(Enum):
    """How an answer is written."""

    ENVELOPE = "data and meta"
    PLAIN = "the data alone, freshness in headers"
    BARE = "the data alone"


@dataclass(frozen=True)
class Endpoint:
    """One address that answers GET.

    Args:
        path: with `{site}` and `{session_id}` for its variable parts.
        shape: how the answer is written.
        handler: makes the answer.
        answer: type of the data.
        summary: one sentence for the document.
        parameters: all it takes, those in the path included.
        reads: whether it asks the store.
        fresh: whether it is answered from the counters alone that are written first (unless it is broken down).
    """

    path: str
    shape: Shape
    handler: Callable[[Question], Answer]
    answer: Any
    summary: str
    parameters: tuple[Parameter, ...] = ()
    reads: bool = True
    fresh: bool = False

    @property
    def strict(self) -> bool:
        """Whether parameters that are not known are refused: the first version ignored them."""
        return self.path.startswith("/v1/")

    @property
    def of_site(self) -> bool:
        """Whether the answer is about one site."""
        return any(parameter.name == "site" for parameter in self.parameters)
