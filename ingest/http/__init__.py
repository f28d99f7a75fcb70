"""HTTP: the routes of ingest.

In: requests of browsers, servers and monitors. Out: answers with a status and a reason. `endpoints` is the table of all
routes. What becomes of an event is the business of `pipeline`; how it reaches the stream, of `delivery`.
"""
