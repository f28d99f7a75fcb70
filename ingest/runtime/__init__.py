"""Runtime: the numbers that an ingest process keeps about itself.

In: what the other rooms observe. Out: metrics for Prometheus.
"""
