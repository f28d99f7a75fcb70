"""The read API: answers about sites, and the dashboard's files.

In: GET requests. Out: JSON made from counters that the processor has written, with its freshness and its cost. The API
never writes and never scans.
"""
