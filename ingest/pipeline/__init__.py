"""Pipeline: a payload becomes an event, or the reason why it does not.

In: request bodies and their context. Out: events, refusals and drops, in the order of `steps.make_event`. What URLs,
user agents and addresses mean is the business of `enrichment`; how events reach the stream, of `delivery`.
"""
