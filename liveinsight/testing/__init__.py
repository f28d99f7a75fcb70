"""Testing: doubles, faults and reference counts for tests and benchmarks. In no wheel.

In: a test's wishes. Out: stores and streams in memory or behind faults, events, a clock to turn, and what should have
been counted.
"""
