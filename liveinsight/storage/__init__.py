"""Interfaces of the store and the stream, and generations of counters.

In: nothing of AWS. Out: protocols with the types that they carry, and a reader of several generations as one. The
implementations are in `liveinsight.aws`, and for tests in `liveinsight.testing`.
"""
