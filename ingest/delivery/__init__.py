"""Delivery: events go onto the stream.

In: the events of a request. Out: their acknowledgement. `group_commit` is the only sender, `commit_batch` the only
encoder. What an event says is the business of `pipeline`.
"""
