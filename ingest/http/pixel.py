"""``GET /collect.gif``: an event from a page without scripts, as an image of one transparent pixel.

In: query parameters and headers. Out: always the image, whatever becomes of the event; a header says why it was not
taken. The event goes through the same pipeline as all others.

    <img src="https://stats.example.com/collect.gif?site=blog" referrerpolicy="no-referrer-when-downgrade" alt="">
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Response, request

from ingest.http.responses import NOT_STORED
from ingest.pipeline.context import Context
from ingest.pipeline.parsing import payload_from
from ingest.pipeline.payload import Payload
from ingest.pipeline.pipeline import Pipeline
from liveinsight.model.events import PAGE_VIEW

PATH = "/collect.gif"
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
REASON = "X-LiveInsight-Reason"
PARAMETERS = {
    "site": "which site; absent means the default one",
    "url": "the page; absent means what the Referer header says",
    "referrer": "where the visitor came from",
    "event_type": "what happened; absent means page_view",
}
_FIELDS = {"url": "page_url"}


def payload_of(query: Mapping[str, str], referer: str) -> Payload:
    """The payload of an image's request; parameters that are not known are ignored.

    Raises:
        InvalidPayload: names the field at fault.
    """
    given = {_FIELDS.get(name, name): query[name] for name in PARAMETERS if query.get(name)}
    return payload_from({"event_type": PAGE_VIEW, "page_url": referer, **given})


class Gif:
    """The view.

    Args:
        pipeline: takes the event.
        context: what the request under way says beside its parameters.
    """

    def __init__(self, pipeline: Pipeline, context: Callable[[], Context]) -> None:
        self._pipeline = pipeline
        self._context = context

    def view(self) -> Response:
        """GET /collect.gif. What is raised here becomes an image, too (see `ingest.http.routes`)."""
        # Asked only whether there is an image: nobody has looked at a page.
        if request.method == "HEAD":
            return image(200)
        payload = payload_of(request.args, request.environ.get("HTTP_REFERER", ""))
        outcome = self._pipeline.collect_each([(payload, self._context())])
        for refused in outcome.refused:
            wait = outcome.retry_after if refused.error.status == 429 else 0
            return image(refused.error.status, refused.error.reason, wait)
        return image(200, outcome.dropped[0].reason if outcome.dropped else "")


def image(status: int, reason: str = "", retry_after: int = 0) -> Response:
    """The answer: the image, and why the event was not taken."""
    headers = [NOT_STORED]
    if reason:
        headers.append((REASON, str(reason)))
    if retry_after:
        headers.append(("Retry-After", str(retry_after)))
    return Response(PIXEL, status, headers, content_type="image/gif")
