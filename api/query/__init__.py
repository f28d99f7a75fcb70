"""Query: answers questions about a site from stored items, never by a scan.

In: a checked question and a store. Out: rows, with the number of items read. Parameters and JSON are the business of
`http`.
"""
