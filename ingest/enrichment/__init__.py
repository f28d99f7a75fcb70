"""Enrichment: what URLs, user agents and addresses mean.

In: texts as they were sent. Out: page, referrer, source, channel, browser, device, place, and whether it is a bot. Pure
functions and tables, without sites and requests: which events are refused or dropped is the business of `pipeline`.
"""
