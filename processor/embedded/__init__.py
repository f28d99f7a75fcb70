"""The embedded worker: reads all shards of the stream in one process.

In: a stream, a store, and a stop event. Out: every shard processed, parents before children, and drained at a stop.
Counting is the business of `shard`. To share shards among machines, use `kcl` or `aws_lambda`.
"""
