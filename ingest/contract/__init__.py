"""Contract: the limits and reasons that clients may rely on, and how text from outside is cleaned.

In: plain values. Out: plain values. Where a limit applies is the business of `pipeline` and `http`.
"""
