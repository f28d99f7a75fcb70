"""Who sends events: all that is the same for the events of one request and site, worked out once.

In: the sites, the policy, a request's context. Out: a `Sender`, or `InvalidPayload` when the site takes nothing
from it. The address stays in the context: what is kept of it here are verdicts and a place.
"""

from __future__ import annotations

from msgspec import Struct

from ingest.contract.limits import MAX_USER_AGENT
from ingest.contract.reasons import Reason
from ingest.contract.text import clean
from ingest.enrichment.geo import NOWHERE, Atlas, Place, primary_language
from ingest.enrichment.landing import UrlRules, url_rules
from ingest.enrichment.user_agents import Agent, classify, relays
from ingest.pipeline.admission import check_origin, exclusion, is_anonymous, site_of
from ingest.pipeline.context import Context, Policy
from liveinsight.sites.site import Bots, Site, Sites


class Sender(Struct, frozen=True, gc=False):
    """The sender of some events, as their site sees it."""

    site: Site
    urls: UrlRules
    excluded: Reason | None
    """Why the site counts nothing that comes from there."""
    anonymous: bool
    """Ids that the page gives are not to be used."""
    drops_bots: bool
    in_data_centre: bool
    """Always false where bots are let through."""
    user_agent: str
    agent: Agent
    relays: bool
    """Payloads know better who they are about."""
    place: Place
    language: str


class Senders:
    """The senders of a request, or of some requests one after the other. Belongs to one thread.

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
        """The sender of an event for the site of that name; None names the default one.

        Raises:
            InvalidPayload: there is no such site, or it takes nothing from pages of this origin.
        """
        if context is not self._context:
            self._context = context
            self._known = {}
        sender = self._known.get(site_name)
        if sender is None:
            sender = self._known[site_name] = self._look_at(site_of(self._sites, site_name), context)
        return sender

    def _look_at(self, site: Site, context: Context) -> Sender:
        check_origin(site, context)
        policy = self._policy
        user_agent = clean(context.user_agent, MAX_USER_AGENT)
        drops_bots = site.bots is Bots.DROP if policy.drop_bots is None else policy.drop_bots
        centres = policy.data_centres if drops_bots else None
        return Sender(
            site,
            url_rules(site),
            exclusion(site, context),
            is_anonymous(site, context),
            drops_bots,
            centres is not None and centres.holds(context.client_address),
            user_agent,
            classify(user_agent),
            relays(user_agent),
            _place(context, policy.atlas),
            primary_language(context.accept_language),
        )


def _place(context: Context, atlas: Atlas | None) -> Place:
    if context.country:
        return Place(context.country, context.region)
    return atlas.place_of(context.client_address) if atlas else NOWHERE
