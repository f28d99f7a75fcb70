"""Model: the words that every other room uses: events, ids, marks, buckets, time and errors.

In: plain values. Out: plain values; nothing here reads or writes anything. What an event counts for is the business of
`counting`.
"""
