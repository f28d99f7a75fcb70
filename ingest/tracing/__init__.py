"""Tracing: what became of one event that a server has sent.

In: a receipt, or an id with a session or user. Out: the event, its record and what it was counted as.
"""
