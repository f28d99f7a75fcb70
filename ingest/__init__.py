"""Ingest: takes events from browsers, servers and logs, decides what they mean, and puts them on the stream.

In: requests. Out: records, and an answer once they are acknowledged. Counting is the business of `processor`.
"""
