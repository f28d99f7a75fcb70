"""What an endpoint is: a handler that takes a checked question and gives an answer with its cost."""

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
    """A request with checked parameters. Without a site in the request, `site` and `zone` are the default site's."""

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
    """Data, their range (epoch ms, end excluded; None without a range), and further fields of `meta`."""

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
        path: with `{site}` and `{session_id}` as variable parts.
        shape: how the answer is written.
        handler: makes the answer.
        answer: type of the data.
        summary: one sentence for the document.
        parameters: of the query string and the path.
        reads: whether it reads from the store.
        fresh: whether its counters are those that are written first (without a breakdown).
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
        """Whether unknown parameters are refused. Legacy endpoints ignore them."""
        return self.path.startswith("/v1/")

    @property
    def of_site(self) -> bool:
        """Whether the answer is about one site."""
        return any(parameter.name == "site" for parameter in self.parameters)
