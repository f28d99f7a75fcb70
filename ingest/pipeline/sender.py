"""The sender of events: all that is the same for the events of one request and site, worked out once.

In: the sites, the policy, a request's context. Out: a `Sender`, or `InvalidPayload` when the site takes nothing from
it. The address stays in the context: the sender holds only what follows from it.
"""

from __future__ import annotations

from msgspec import Struct

from ingest.contract.limits import MAX_USER_AGENT
from ingest.contract.reasons import Reason
from ingest.contract.text import clean
from ingest.enrichment.geo import NOWHERE, GeoDatabase, Place, primary_language
from ingest.enrichment.landing import UrlRules, url_rules
from ingest.enrichment.user_agents import Agent, classify, relays
from ingest.pipeline.context import Context, Policy
from liveinsight.model.errors import InvalidPayload
from liveinsight.sites.site import Bots, DoNotTrackPolicy, Site, Sites


class Sender(Struct, frozen=True, gc=False):
    """The sender of some events, by the rules of their site."""

    site: Site
    urls: UrlRules
    excluded: Reason | None
    """Why the site counts none of its events."""
    anonymous: bool
    """User and session ids in payloads are ignored."""
    drops_bots: bool
    in_data_centre: bool
    """Always false where bots are counted."""
    user_agent: str
    agent: Agent
    relays: bool
    """The sender is a server that relays events of other clients."""
    place: Place
    language: str


class RequestSenders:
    """The senders of one request after another. Belongs to one thread.

    Args:
        sites: the sites that hold now.
        policy: what live traffic and an import do differently.
    """

    def __init__(self, sites: Sites, policy: Policy) -> None:
        self._sites = sites
        self._policy = policy
        self._context: Context | None = None
        self._known: dict[str | None, Sender] = {}

    def of(self, site_name: str | None, context: Context) -> Sender:
        """The sender of an event for the named site; None is the default site.

        Raises:
            InvalidPayload: there is no such site, or it does not allow the page's origin.
        """
        if context is not self._context:
            self._context = context
            self._known = {}
        sender = self._known.get(site_name)
        if sender is None:
            sender = self._known[site_name] = self._sender(site_of(self._sites, site_name), context)
        return sender

    def _sender(self, site: Site, context: Context) -> Sender:
        if not site.allows_origin(context.origin):
            message = "this origin may not send events for the site"
            raise InvalidPayload(Reason.ORIGIN_NOT_ALLOWED, message, status=403)
        policy = self._policy
        user_agent = clean(context.user_agent, MAX_USER_AGENT)
        drops_bots = site.bots is Bots.DROP if policy.drop_bots is None else policy.drop_bots
        centres = policy.data_centres if drops_bots else None
        return Sender(
            site,
            url_rules(site),
            _exclusion(site, context),
            context.opted_out and site.do_not_track is not DoNotTrackPolicy.OFF,
            drops_bots,
            centres is not None and centres.holds(context.client_address),
            user_agent,
            classify(user_agent),
            relays(user_agent),
            _place(context, policy.geo),
            primary_language(context.accept_language),
        )


def site_of(sites: Sites, name: str | None) -> Site:
    """The named site, or the default one.

    Raises:
        InvalidPayload: there is no such site.
    """
    site = sites.find(name)
    if site is None:
        raise InvalidPayload(Reason.UNKNOWN_SITE, "no such site is configured", status=404, field="site")
    return site


def _exclusion(site: Site, context: Context) -> Reason | None:
    if context.opted_out and site.do_not_track is DoNotTrackPolicy.DROP:
        return Reason.DO_NOT_TRACK
    if site.excludes_address(context.client_address):
        return Reason.EXCLUDED_ADDRESS
    return None


def _place(context: Context, geo: GeoDatabase | None) -> Place:
    if context.country:
        return Place(context.country, context.region)
    return geo.place_of(context.client_address) if geo else NOWHERE
