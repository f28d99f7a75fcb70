"""The read API: serves precomputed counters and sessions, and the dashboard.

In: requests. Out: answers that say how fresh they are and how many items they read. Counting is the business of
`processor`.
"""
