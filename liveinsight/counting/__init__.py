"""Counting: what an event changes in a visitor's state and in which counters. Pure.

In: an event and its visitor's state. Out: the new state, and contributions to counters; and back, from stored items to
sums. When contributions are written is the business of `processor.shard`, under which keys of `liveinsight.aws`.
"""
