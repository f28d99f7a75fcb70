"""Enrichment: what URLs, user agents and addresses mean: page, source, channel, browser, bot, place.

In: texts of a request, rules of a site. Out: facts. Mostly pure and cached. When an event is refused or dropped is the
business of `pipeline`.
"""
