"""Query: from a checked question to rows.

In: a store, a site, a range and other checked parameters. Out: rows, and the number of stored items that were read for
them. Nothing here knows HTTP.
"""
