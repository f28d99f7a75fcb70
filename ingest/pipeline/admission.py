"""Whether a site takes an event: the rules that its operator has set.

In: the site, and what is known of the request. Out: nothing, a `Reason` to drop the event, or `InvalidPayload` to
refuse it. No message holds anything that a client has sent.
"""

from __future__ import annotations

from ingest.contract.reasons import Reason
from ingest.enrichment.pages import Page
from ingest.enrichment.paths import group_of
from ingest.pipeline.context import Context
from ingest.pipeline.rate_limits import Rates
from liveinsight.model.errors import InvalidPayload
from liveinsight.sites.site import Honour, Site, Sites


def site_of(sites: Sites, name: str | None) -> Site:
    """The site that a payload names, or the default one.

    Raises:
        InvalidPayload: there is no such site.
    """
    site = sites.find(name)
    if site is None:
        raise InvalidPayload(Reason.UNKNOWN_SITE, "no such site is configured", status=404, field="site")
    return site


def check_origin(site: Site, context: Context) -> None:
    """Whether the site takes events of pages of this origin.

    Raises:
        InvalidPayload: it does not.
    """
    if not site.allows_origin(context.origin):
        raise InvalidPayload(Reason.ORIGIN_NOT_ALLOWED, "this origin may not send events for the site", status=403)


def check_rate(site: Site, context: Context, rates: Rates) -> None:
    """Whether one more event may come now; if so, it counts.

    Raises:
        InvalidPayload: it may not.
    """
    seconds = rates.wait(site, context.client_address, context.received_at)
    if seconds:
        message = "too many events from here or for this site; send it again later"
        raise InvalidPayload(Reason.RATE_LIMITED, message, status=429, retry_after=seconds)


def exclusion(site: Site, context: Context) -> Reason | None:
    """Why nothing that comes from there is to be counted for the site, if so."""
    if context.opted_out and site.honour is Honour.DROP:
        return Reason.DO_NOT_TRACK
    if site.excludes_address(context.client_address):
        return Reason.EXCLUDED_ADDRESS
    return None


def excludes_page(site: Site, page: Page) -> bool:
    """Whether the site does not count a page."""
    return bool(site.excluded_paths) and bool(group_of(_path_of(page), [(glob, glob) for glob in site.excluded_paths]))


def is_anonymous(site: Site, context: Context) -> bool:
    """Whether the ids that the page gives are not to be used."""
    return context.opted_out and site.honour is not Honour.OFF


def _path_of(page: Page) -> str:
    """The path as it was before grouping."""
    start = page.url.find("/", page.url.find("://") + 3) if page.host else 0
    return page.url[start:].partition("?")[0].partition("#")[0]
